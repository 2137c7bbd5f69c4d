"""The parts of a comparison that a process is asked for: all of them, or those of one method or model."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from openjepa.errors import UsageError, unknown
from openjepa.studies.compare.stored import StoredPlan


class Part(NamedTuple):
    """A run of a contender with a seed, or a model that is only measured, which has none."""

    name: str
    seed: int | None


def wanted(
    parts: Sequence[Part], plans: Mapping[str, StoredPlan], only: str | None, seed: int | None
) -> Sequence[Part]:
    """All parts, or those of `only`, a contender, a method or a model, with one seed or all.

    After its own parts, a process measures the models beside that nobody has measured. Raises UsageError.
    """
    if only is None:
        return parts
    named = _named({part.name for part in parts}, plans, only)
    mine = [part for part in parts if part.name in named]
    seeds = [part.seed for part in mine if part.seed is not None]
    if seed is not None and not seeds:
        raise UsageError(f"--seed {seed} has no effect with --only {only}, which is not trained: leave it out")
    if seed is not None and seed not in seeds:
        raise UsageError(f"--seed {seed} is none of this study: give one from {min(seeds)} to {max(seeds)}")
    mine = [part for part in mine if seed in (None, part.seed)]
    return [*mine, *(part for part in parts if part.seed is None and part not in mine)]


def _named(names: Collection[str], plans: Mapping[str, StoredPlan], only: str) -> set[str]:
    found = {name for name in names if only == name or (name in plans and plans[name].method == only)}
    if not found:
        known = [*dict.fromkeys(plan.method for plan in plans.values()), *(n for n in names if n not in plans)]
        raise UsageError(unknown("--only", only, known))
    return found
