"""Learning rate, weight decay and EMA momentum as pure functions of the step (0-based, of `steps`)."""

import math


def cosine(progress: float, start: float, end: float) -> float:
    """Half a cosine from start (progress 0) to end (progress 1); progress is clipped to [0, 1]."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def learning_rate(step: int, steps: int, warmup: int, start: float, peak: float, end: float) -> float:
    """Linear from start to peak in `warmup` steps, then a cosine to end, which the last step reaches."""
    clock = step + 1
    if clock < warmup:
        return start + (peak - start) * clock / warmup
    return cosine((clock - warmup) / max(1, steps - warmup), peak, end)


def weight_decay(step: int, steps: int, start: float, end: float) -> float:
    """A cosine from start to end, which the last step reaches."""
    return cosine((step + 1) / steps, start, end)


def ema_momentum(step: int, steps: int, start: float, end: float) -> float:
    """Linear from start at step 0 towards end at step `steps`."""
    return start + (end - start) * step / steps


def ema_range(steps: int) -> tuple[float, float]:
    """EMA momentum at start and end of a run of so many steps: a half-life of a 75th of them, within .99 and .998.

    Chosen between faster and slower ones, which taught less in single runs (docs/development/lab-log.md, 15 and 16).
    """
    return min(max(0.5 ** (75 / steps), 0.99), 0.998), 1.0


def ema_half_life(momentum: float) -> float:
    """Steps after which half of the target encoder's weights come from newer context encoders; inf at momentum 1."""
    return math.log(0.5) / math.log(momentum) if 0 < momentum < 1 else (0.0 if momentum <= 0 else math.inf)
