"""Whether the probe of a run shows that something was learned: one judgement, which the log and the report have."""

from collections.abc import Mapping
from typing import Any

from openjepa.evaluation.intervals import accuracy_difference
from openjepa.training.monitoring.advice import longer

LEARNED = 0.03  # of k-NN accuracy over the untrained encoder's, below which a run is not said to be healthy alone
PROBE = "knn"


def probe_remark(
    untrained: Mapping[str, float], now: Mapping[str, float], images: int, settings: Mapping[str, Any]
) -> str:
    """What to say of a run whose k-NN by the labels ends less than three points above its untrained encoder's.

    "" for others, and where there is no probe. `images` were the probe's test images; `settings` as of `longer`.
    """
    if PROBE not in untrained or PROBE not in now or not images:
        return ""
    first, last = untrained[PROBE], now[PROBE]
    gain, low, high = accuracy_difference((first, images), (last, images))
    if round(last - first, 6) >= LEARNED:
        return ""
    place = "below" if high < 0 else "hardly above" if low > 0 else "not clearly above"
    interval = f"difference {_points(gain)} points, 95% interval {_points(low)} to {_points(high)}, {images:,} images"
    return (
        f"But the labels hardly show that anything was learned: k-NN ends at {last:.1%}, {place} the untrained "
        f"encoder's {first:.1%} ({interval}). To learn more, {longer(settings)}; measure the encoder before use."
    )


def _points(fraction: float) -> str:
    return f"{100 * fraction:+z.1f}"
