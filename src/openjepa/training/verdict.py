"""The monitors in plain words: healthy, positional collapse, collapsed, or too early to say; and what to change."""

EARLY = 0.15  # share of a run before which nothing is judged
FAR = 0.5  # EMA distance; a third in runs that learn, 0.6 at thirty times their learning rate (docs/troubleshooting.md)
KEPT = 0.8  # share of an imported encoder's rank, below which it is losing what it knew
HALF = 0.5  # share of a run before which a rank that has fallen may still recover


def verdict(
    now: dict[str, float], untrained: dict[str, float], progress: float, imported: bool = False
) -> tuple[str, str]:
    """A status and a sentence from the monitors now and at step 0, `progress` being the share of the run done.

    The statuses are "collapsed", "early", "positional collapse", "unstable", "dimensional collapse", "not learning",
    "weak" and "healthy". With `imported` step 0 is a trained encoder, and losing its rank is "forgetting", said at any
    time.
    """
    rank, share, gap = now["rank"], now["positional_share"], now["energy_gap"]
    positional = share > 0.5 and gap < 0.1
    alike = now["std"] < (0.02 if positional else 0.1) * untrained["std"]  # tokens that say where have little else
    if alike or (rank < 2 and not positional):
        return "collapsed", (
            f"collapsed: embeddings hardly differ between images (effective rank {rank:.1f}, std "
            f"{now['std'] / max(untrained['std'], 1e-12):.0%} of untrained). Raise ema_momentum or lower lr."
        )
    if imported and rank < KEPT * untrained["rank"]:
        return "forgetting", (
            f"forgetting: effective rank {rank:.1f}, {rank / untrained['rank']:.0%} of the imported encoder's "
            f"{untrained['rank']:.1f}. Lower lr, raise --init-freeze or ema_momentum; encoder-best-rank is kept."
        )
    if progress < EARLY:
        return "early", f"too early to say: effective rank {rank:.1f}, energy gap {max(gap, 0):.2f}"
    if positional:
        return "positional collapse", (
            f"positional collapse: {share:.0%} of the target's variance is position and content explains {gap:.0%} of "
            "the energy; the model says where, not what. Use --weight-init unit, smaller ema_momentum or more steps."
        )
    if now["ema_distance"] > FAR:
        return "unstable", (
            f"unstable: the context encoder's weights are {now['ema_distance']:.0%} away from the target encoder's, "
            "which cannot follow. Lower lr, or ema_momentum."
        )
    if rank < 0.5 * untrained["rank"]:
        return "dimensional collapse", (
            f"dimensional collapse: embeddings vary in {rank:.1f} directions, the untrained encoder's in "
            f"{untrained['rank']:.1f}. Use --weight-init unit, --optimizer muon, or lower lr."
        )
    if gap < 0.1:
        return "not learning", (
            f"not learning: content explains {max(gap, 0):.0%} of the energy, so predictions hardly depend on the "
            "image yet. Train longer, or raise lr."
        )
    before = "imported" if imported else "untrained"
    if progress >= HALF and rank < untrained["rank"]:
        return "weak", (
            f"weak: effective rank {rank:.1f} is below the {before} encoder's {untrained['rank']:.1f}. Train "
            "longer, or lower lr if the rank has been falling."
        )
    return "healthy", (
        f"healthy: effective rank {rank:.1f} ({before} {untrained['rank']:.1f}), content explains {gap:.0%} of the "
        f"energy, position {share:.0%} of the target's variance"
    )
