"""The monitors in words: a status such as healthy, collapsed or too early to say, and what to change."""

from collections.abc import Mapping
from typing import Any

EARLY = 0.15  # fraction of a run before which nothing is judged
FAR = 0.5  # EMA distance; 0.33 in runs that learn, 0.7 at thirty times their learning rate (docs/troubleshooting.md)
KEPT = 0.8  # fraction of an imported encoder's rank, below which it is losing what it learned
DIP = 0.25  # fraction of a run before which half of the untrained rank may be the dip with which runs begin
LEVELS = {0.5: 0.7, 0.75: 0.9}  # from this fraction of a run on, less than this fraction of the untrained rank is weak

# Clauses that need a monitor which the method does not have are left out.
SENTENCES: dict[str, tuple[str, ...]] = {
    "collapsed": (
        "embeddings hardly differ between images (effective rank {rank:.1f}, std {kept_std:.0%} of {before}). {slower}",
    ),
    "forgetting": (
        "effective rank {rank:.1f}, {kept_rank:.0%} of the imported encoder's {first:.1f}. Lower lr, raise "
        "--init-freeze or ema_momentum; encoder-best-rank is kept.",
    ),
    "early": ("effective rank {rank:.1f}", "energy gap {gap:.2f}"),
    "positional collapse": (
        "{fraction:.0%} of the target's variance is position and content explains {gap:.0%} of the energy; the model "
        "encodes where a patch is, not what it shows. {Content}.",
    ),
    "unstable": (
        "the context encoder's weights are {distance:.0%} away from the target encoder's, which cannot follow. "
        "Lower lr, or ema_momentum.",
    ),
    "dimensional collapse": (
        "embeddings vary in {rank:.1f} directions, the {before} encoder's in {first:.1f}. {Wider}.",
    ),
    "not learning": (
        "content explains {gap:.0%} of the energy, so predictions hardly depend on the image yet. {Longer}, or "
        "raise lr{lr}. An encoder that ends so is of little use.",
    ),
    "weak": (
        "effective rank {rank:.1f} is below the {before} encoder's {first:.1f}. {Longer} or, if the rank has been "
        "falling, lower lr{lr}. As it is, the encoder may be no better than an untrained one: measure it before use.",
    ),
    "healthy": (
        "effective rank {rank:.1f} ({before} {first:.1f})",
        "content explains {gap:.0%} of the energy",
        "position {fraction:.0%} of the target's variance",
    ),
}
OPTIONAL = {"gap": "energy_gap", "fraction": "positional_fraction", "distance": "ema_distance"}


def verdict(
    now: dict[str, float],
    untrained: dict[str, float],
    progress: float,
    imported: bool = False,
    settings: Mapping[str, Any] = {},
) -> tuple[str, str]:
    """A status, one of SENTENCES, and its sentence, from the monitors now and at step 0.

    rank and std are needed, the other monitors may be absent. `progress` is the fraction of the run done. With
    `imported`, step 0 is a trained encoder. `settings` are those of the run, as far as they are known: what is set
    already is not advised.
    """
    status = _status(now, untrained, progress, imported)
    values: dict[str, float | str] = {
        "rank": now["rank"],
        "first": untrained["rank"],
        "kept_rank": now["rank"] / untrained["rank"],
        "kept_std": now["std"] / max(untrained["std"], 1e-12),
        "before": "imported" if imported else "untrained",
        "slower": "Raise ema_momentum or lower lr." if "ema_distance" in now else "Lower lr.",
    }
    values |= advice(settings)
    values |= {word: max(now[name], 0) for word, name in OPTIONAL.items() if name in now}
    clauses = filter(None, (_filled(clause, values) for clause in SENTENCES[status]))
    name = "too early to say" if status == "early" else status
    return status, f"{name}: {', '.join(clauses)}"


def advice(settings: Mapping[str, Any]) -> dict[str, str]:
    """What to change for more content, for more directions, and for a longer run, where it is not set already."""
    unit = ["--weight-init unit"] * (settings.get("weight_init") != "unit")
    muon = ["--optimizer muon"] * (settings.get("optimizer") != "muon")
    steps, lr = settings.get("steps"), settings.get("lr")
    longer = f"train twice as long (--steps {2 * steps})" if steps else "train twice as long"
    lower = f"lower lr (it is {lr:g})" if lr else "lower lr"
    changes = {
        "Content": f"Use {listed([*unit, 'smaller ema_momentum'])}, or {longer}",
        "Wider": listed([*(f"use {option}" for option in [*unit, *muon]), lower]),
        "Longer": longer,
    }
    named = {name: text[0].upper() + text[1:] for name, text in changes.items()}
    return named | {"lr": f" (it is {lr:g})" if lr else ""}


def listed(words: list[str]) -> str:
    """Words as an enumeration of alternatives: a, b or c."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _filled(clause: str, values: dict[str, float | str]) -> str:
    try:
        return clause.format(**values)
    except KeyError:
        return ""


def _status(now: dict[str, float], untrained: dict[str, float], progress: float, imported: bool) -> str:
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
        "weak": any(progress >= since and rank < level * first for since, level in LEVELS.items()),
    }
    return next((status for status, holds in rules.items() if holds), "healthy")
