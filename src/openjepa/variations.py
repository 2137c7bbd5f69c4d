"""The settings that `openjepa tune` changes, one at a time, and the values that it tries in place of a recipe's own."""

from collections.abc import Callable
from typing import Any

from openjepa.config import Config
from openjepa.training.schedules import ema_range


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _times(name: str, *factors: float) -> Callable[[Config], list[Any]]:
    """Values around the recipe's own; whole numbers stay whole and above zero."""

    def values(config: Config) -> list[Any]:
        own = getattr(config, name)
        scaled = [own * factor for factor in factors]
        return [max(1, int(value)) for value in scaled] if isinstance(own, int) else [*map(_rounded, scaled)]

    return values


def _these(*values: Any) -> Callable[[Config], list[Any]]:
    return lambda config: list(values)


def _ema_momenta(config: Config) -> list[tuple[float, float]]:
    """A target encoder that follows three times as fast at the start, and one three times as slow."""
    start, end = config.ema_momentum or ema_range(1)  # trials are short
    return [(_rounded(max(0.0, 1 - factor * (1 - start))), end) for factor in (3, 1 / 3)]


# The values of masks, blocks, weight decay and predictor are those of the paper's ablations (Assran et al. 2023, tables
# 6, 8 to 10 and 12 to 14) or stand in the same proportion to the recipe's, so that their trends can be compared.
VARIATIONS: dict[str, Callable[[Config], list[Any]]] = {
    "lr": _times("lr", 1 / 3, 3),
    "ema_momentum": _ema_momenta,
    "batch_size": _times("batch_size", 1 / 2, 2),
    "optimizer": _these("muon", "adamw"),
    "weight_decay": _these((0.04, 0.4), (0.05, 0.05)),
    "masks": _these("multiblock", "rasterized", "block", "random"),
    # The last two are for random masks, which take one share only.
    "target_scale": _these((0.1, 0.2), (0.15, 0.2), (0.2, 0.3), (0.25, 0.25), (0.75, 0.75)),
    "num_targets": _these(1, 2, 3, 4, 6),
    "context_scale": _these((0.4, 1.0), (0.65, 1.0), (0.85, 1.0)),
    "context_ratio": _these(0.15, 0.25, 0.35),
    "mask_draws": _times("mask_draws", 1 / 2, 2),
    "crop_scale": _these((0.3, 1.0), (0.5, 1.0), (0.7, 1.0)),
    "loss": _these("smooth_l1", "l2"),
    "warmup": _these(0.05, 0.2),
    "predictor_depth": _times("predictor_depth", 1 / 2, 2),
    "predictor_dim": _times("predictor_dim", 1 / 2, 2),
}
