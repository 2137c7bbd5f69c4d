"""The monitors in words: a status such as healthy, collapsed or too early to say, and what to change."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from openjepa.training.monitoring.advice import changes

EARLY, HALF = 0.15, 0.5  # fractions of a run before which nothing is judged, and no turn
FAR = 0.5  # EMA distance; 0.33 in runs that learn, 0.7 at thirty times their learning rate (docs/troubleshooting.md)
KEPT = 0.8  # fraction of an imported encoder's rank, below which it is losing what it learned
DIP = 0.25  # fraction of a run before which half of the untrained rank may be the dip with which runs begin
LEVELS = {0.5: 0.7, 0.75: 0.9}  # from this fraction of a run on, less than this fraction of the untrained rank is weak

TURNED, SHRUNK = 0.15, 0.75  # more position than a run had at its least, and what is then left of its largest std

# Clauses that need a monitor which the method does not have are left out.
FINDINGS: dict[str, tuple[str, ...]] = {
    "collapsed": (
        "embeddings hardly differ between images (effective rank {rank:.1f}, std {kept_std:.0%} of {before})",
    ),
    "forgetting": ("effective rank {rank:.1f}, {kept_rank:.0%} of the imported encoder's {first:.1f}",),
    "early": ("effective rank {rank:.1f}", "energy gap {gap:z.2f}"),
    "positional collapse": (
        "{fraction:.0%} of the target's variance is position and content explains {gap:z.0%} of the energy; the model "
        "encodes where a patch is, not what it shows",
    ),
    "unstable": (
        "the context encoder's weights are {distance:.0%} away from the target encoder's, which cannot follow",
    ),
    "dimensional collapse": ("embeddings vary in {rank:.1f} directions, the {before} encoder's in {first:.1f}",),
    "not learning": ("content explains {gap:z.0%} of the energy, so predictions hardly depend on the image yet",),
    "turning positional": (
        "position is {fraction:.0%} of the target's variance and was {least:.0%}, while embeddings differ less (std "
        "{shrunk:.0%} of its highest): what was learned of content is being lost",
    ),
    "weak": ("effective rank {rank:.1f} is below the {before} encoder's {first:.1f}",),
    "healthy": (
        "effective rank {rank:.1f} ({before} {first:.1f})",
        "content explains {gap:z.0%} of the energy",
        "position {fraction:.0%} of the target's variance",
    ),
}
ADVICE = {
    "collapsed": "{Steadier}.",
    "forgetting": "{Kept}; encoder-best-rank is kept.",
    "positional collapse": "{Content}.",
    "unstable": "{Closer}.",
    "dimensional collapse": "{Wider}.",
    "not learning": "{LongerOrFaster}. An encoder that ends so is of little use.",
    "turning positional": "{Slower}.",
    "weak": "{Longer} or, if the rank has been falling, use {lower} in a new run. As it is, the encoder may be no "
    "better than an untrained one: measure it before use.",
}
ADVISE_LONGER = {status for status, text in ADVICE.items() if "{Longer" in text}
OPTIONAL = {"gap": "energy_gap", "fraction": "positional_fraction", "distance": "ema_distance"}


class Verdict(NamedTuple):
    """A status, one of FINDINGS; what was found, as a sentence that begins with it; and what to change, "" if nothing.

    The advice does not depend on the finding's numbers, so it need not be repeated while the status stays.
    """

    status: str
    finding: str
    advice: str

    @property
    def text(self) -> str:
        return f"{self.finding} {self.advice}".rstrip()


class Extremes(NamedTuple):
    """The largest std and the least positional fraction of a run since its first step."""

    std: float = 0.0
    positional_fraction: float = 1.0

    def after(self, now: Mapping[str, float]) -> "Extremes":
        """These, once the monitors were measured again."""
        least = min(self.positional_fraction, now.get("positional_fraction", 1.0))
        return Extremes(max(self.std, now["std"]), least)


NONE_YET = Extremes()


def verdict(
    now: dict[str, float],
    untrained: dict[str, float],
    progress: float,
    imported: bool = False,
    settings: Mapping[str, Any] = {},
    extremes: Extremes = NONE_YET,
    remark: str = "",
) -> Verdict:
    """What the monitors now, beside those at step 0 and the `extremes` since then, say of a run.

    rank and std are needed, the other monitors may be absent. `progress` is the fraction of the run done. With
    `imported`, step 0 is a trained encoder. `settings` are those of the run, as far as they are known: what is set
    already is not advised. `remark` is what to say of a run that is healthy by its monitors alone.
    """
    status = _status(now, untrained, progress, imported, extremes)
    values: dict[str, float | str] = {
        "rank": now["rank"],
        "first": untrained["rank"],
        "kept_rank": now["rank"] / untrained["rank"],
        "kept_std": now["std"] / max(untrained["std"], 1e-12),
        "shrunk": now["std"] / max(extremes.std, 1e-12),
        "least": extremes.positional_fraction,
        "before": "imported" if imported else "untrained",
    }
    values |= {word: max(now[name], 0) for word, name in OPTIONAL.items() if name in now}
    has_target = "ema_distance" in now
    values |= changes({name: value for name, value in settings.items() if name != "ema_momentum" or has_target})
    clauses = ", ".join(filter(None, (_filled(clause, values) for clause in FINDINGS[status])))
    name = "too early to say" if status == "early" else status
    advice = remark if status == "healthy" else ADVICE.get(status, "").format(**values)
    return Verdict(status, f"{name}: {clauses}{'.' * bool(advice)}", advice)


def _filled(clause: str, values: dict[str, float | str]) -> str:
    try:
        return clause.format(**values)
    except KeyError:
        return ""


def _status(
    now: dict[str, float], untrained: dict[str, float], progress: float, imported: bool, extremes: Extremes
) -> str:
    """The first that holds, the worst first."""
    rank, first = now["rank"], untrained["rank"]
    unfit = now.get("energy_gap", 1.0) < 0.1  # predictions hardly fit their own images better than others
    positional = now.get("positional_fraction", 0.0) > 0.5 and unfit
    alike = now["std"] < (0.02 if positional else 0.1) * untrained["std"]  # positional tokens vary little otherwise
    rules = {
        "collapsed": alike or (rank < 2 and not positional),
        "forgetting": imported and rank < KEPT * first,
        "early": progress < EARLY,
        "positional collapse": positional,
        "unstable": now.get("ema_distance", 0.0) > FAR,
        "dimensional collapse": rank < 0.5 * first and (unfit or progress >= DIP),
        "not learning": unfit,
        "turning positional": progress >= HALF and _turns(now, extremes),
        "weak": any(progress >= since and rank < level * first for since, level in LEVELS.items()),
    }
    return next((status for status, holds in rules.items() if holds), "healthy")


def _turns(now: dict[str, float], extremes: Extremes) -> bool:
    """Whether position takes over from content in targets that shrink, after a stretch in which it did not.

    Fractions that rise while the std stays are seen in runs that learn.
    """
    fraction = now.get("positional_fraction", 0.0)
    rises = fraction > 0.5 and fraction >= extremes.positional_fraction + TURNED
    return rises and now["std"] <= SHRUNK * extremes.std
