"""The monitors in plain words: healthy, positional collapse, collapsed, or too early to say; and what to change."""

EARLY = 0.15  # fraction of a run before which nothing is judged
FAR = 0.5  # EMA distance; a third in runs that learn, 0.7 at thirty times their learning rate (docs/troubleshooting.md)
KEPT = 0.8  # fraction of an imported encoder's rank, below which it is losing what it knew
DIP = 0.25  # fraction of a run before which a rank under half of the untrained may be the dip with which runs begin
LEVELS = {0.5: 0.7, 0.75: 0.9}  # from this fraction of a run on, less than this fraction of the untrained rank is weak


SENTENCES = {
    "collapsed": "embeddings hardly differ between images (effective rank {rank:.1f}, std {kept_std:.0%} of {before}). "
    "Raise ema_momentum or lower lr.",
    "forgetting": "effective rank {rank:.1f}, {kept_rank:.0%} of the imported encoder's {first:.1f}. Lower lr, raise "
    "--init-freeze or ema_momentum; encoder-best-rank is kept.",
    "early": "effective rank {rank:.1f}, energy gap {gap:.2f}",
    "positional collapse": "{fraction:.0%} of the target's variance is position and content explains {gap:.0%} of the "
    "energy; the model says where, not what. Use --weight-init unit, smaller ema_momentum or more steps.",
    "unstable": "the context encoder's weights are {distance:.0%} away from the target encoder's, which cannot follow. "
    "Lower lr, or ema_momentum.",
    "dimensional collapse": "embeddings vary in {rank:.1f} directions, the {before} encoder's in {first:.1f}. Use "
    "--weight-init unit, --optimizer muon, or lower lr.",
    "not learning": "content explains {gap:.0%} of the energy, so predictions hardly depend on the image yet. Train "
    "longer, or raise lr.",
    "weak": "effective rank {rank:.1f} is below the {before} encoder's {first:.1f}. Train longer, or lower lr if the "
    "rank has been falling.",
    "healthy": "effective rank {rank:.1f} ({before} {first:.1f}), content explains {gap:.0%} of the energy, position "
    "{fraction:.0%} of the target's variance",
}


def verdict(
    now: dict[str, float], untrained: dict[str, float], progress: float, imported: bool = False
) -> tuple[str, str]:
    """A status, one of SENTENCES, and its sentence, from the monitors now and at step 0.

    `progress` is the fraction of the run done. With `imported` step 0 is a trained encoder.
    """
    status = _status(now, untrained, progress, imported)
    words = {
        "rank": now["rank"],
        "first": untrained["rank"],
        "kept_rank": now["rank"] / untrained["rank"],
        "kept_std": now["std"] / max(untrained["std"], 1e-12),
        "gap": max(now["energy_gap"], 0),
        "fraction": now["positional_fraction"],
        "distance": now["ema_distance"],
        "before": "imported" if imported else "untrained",
    }
    name = "too early to say" if status == "early" else status
    return status, f"{name}: {SENTENCES[status].format(**words)}"


def _status(now: dict[str, float], untrained: dict[str, float], progress: float, imported: bool) -> str:
    """The first that holds, the worst first."""
    rank, first, gap = now["rank"], untrained["rank"], now["energy_gap"]
    unfit = gap < 0.1  # predictions hardly fit their own images better than others
    positional = now["positional_fraction"] > 0.5 and unfit
    alike = now["std"] < (0.02 if positional else 0.1) * untrained["std"]  # tokens that say where have little else
    rules = {
        "collapsed": alike or (rank < 2 and not positional),
        "forgetting": imported and rank < KEPT * first,
        "early": progress < EARLY,
        "positional collapse": positional,
        "unstable": now["ema_distance"] > FAR,
        "dimensional collapse": rank < 0.5 * first and (unfit or progress >= DIP),
        "not learning": unfit,
        "weak": any(progress >= since and rank < level * first for since, level in LEVELS.items()),
    }
    return next((status for status, holds in rules.items() if holds), "healthy")
