"""The ablations of the paper (Assran et al. 2023, arXiv 2301.08243), and whether the results of a study agree."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy.stats import spearmanr

from openjepa.studies.tune.conclusion import CLEAR

SAME, DIFFERENT, UNKNOWN = "same trend", "different trend", "no clear trend"


@dataclass(frozen=True)
class Ablation:
    """Accuracies in % by value of a setting.

    `order` is 1 or -1 where the paper's values belong to larger networks, so that only the direction can be compared:
    larger values were better (1) or worse (-1).
    """

    setting: str
    title: str
    source: str
    results: dict[Any, float]
    order: int = 0

    def expected(self, value: Any) -> float | None:
        """A number by which the paper ranks this value; None for a value that the paper does not have."""
        return self.order * value if self.order else self.results.get(value)


ONE_PERCENT = "linear with 1 % of the labels, ViT-B/16, 300 epochs"
ABLATIONS = (
    Ablation(
        "masks",
        "Mask strategy",
        f"table 6, {ONE_PERCENT}",
        {"multiblock": 54.2, "rasterized": 15.5, "block": 20.2, "random": 17.6},
    ),
    Ablation(
        "target_scale",
        "Size of the target blocks",
        f"table 8, {ONE_PERCENT}",
        {
            (0.075, 0.2): 19.2,
            (0.1, 0.2): 39.2,
            (0.125, 0.2): 42.4,
            (0.15, 0.2): 54.2,
            (0.2, 0.25): 38.9,
            (0.2, 0.3): 33.6,
        },
    ),
    Ablation(
        "context_scale",
        "Size of the context block",
        f"table 9, {ONE_PERCENT}",
        {(0.4, 1.0): 31.2, (0.65, 1.0): 47.1, (0.75, 1.0): 49.3, (0.85, 1.0): 54.2},
    ),
    Ablation("num_targets", "Number of target blocks", f"table 10, {ONE_PERCENT}", {1: 9.0, 2: 22.0, 3: 48.5, 4: 54.2}),
    Ablation(
        "predictor_depth",
        "Depth of the predictor",
        "table 12, 1 % of the labels, ViT-L/16, 500 epochs",
        {6: 64.0, 12: 66.9},
        order=1,
    ),
    Ablation(
        "weight_decay",
        "Weight decay",
        "table 13, 1 % of the labels, ViT-L/16, 600 epochs",
        {(0.04, 0.4): 69.4, (0.05, 0.05): 70.7},
    ),
    Ablation(
        "predictor_dim",
        "Width of the predictor",
        "table 14, 1 % of the labels, ViT-L/16, 600 epochs",
        {384: 70.7, 1024: 68.4},
        order=-1,
    ),
)


def trend(ablation: Ablation, ours: Mapping[Any, float], noise: float) -> str:
    """Whether our results by value rise and fall as the paper's do: the sign of Spearman's rank correlation.

    There is no clear trend where fewer than two values are among the paper's, where our results differ by no more than
    three times `noise` (the standard deviation of one run), or where the correlation is zero.
    """
    pairs = [(ablation.expected(value), result) for value, result in ours.items()]
    pairs = [pair for pair in pairs if pair[0] is not None]
    results = [result for _, result in pairs]
    if len(pairs) < 2 or max(results) - min(results) <= CLEAR * noise:
        return UNKNOWN
    rho = spearmanr(*zip(*pairs, strict=True)).statistic
    return SAME if rho > 0 else DIFFERENT if rho < 0 else UNKNOWN
