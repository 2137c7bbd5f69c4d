"""Is `compare` right about noise? Comparisons are simulated from the seeds that learning.jsonl records.

python benchmarks/comparisons.py [REPEATS]     400 comparisons of each kind: a minute; writes results/comparisons.json

In each, methods with three seeds answer the same test images. The seeds differ as the recorded ones do, the images are
hard or easy for all methods, and no method is better than another, or one is by three points. The same test as on the
page then says which differences are clear: at most 5 of 100 where there is none, and at least 80 of 100 where there is
one, given more than 1,000 test images.
"""

import json
import sys

import numpy as np
from record import RESULTS, record

from openjepa.evaluation.results import Result, mean_of, over_seeds
from openjepa.studies.compare.conclusion import Group, difference, noise_of

SEEDS, PLANTED = 3, 0.03
SHARED = 0.8  # correlation of how hard an image is for two runs, which then answer every fifth differently
FEW = 1000  # test images, with which three points cannot be told from noise often enough by any test
KINDS = {
    "2 methods, 1,000 images": (2, 1000),
    "2 methods, 5,000 images": (2, 5000),
    "6 methods, 2,000 images": (6, 2000),
}


def recorded() -> tuple[list[float], float]:
    """How far recorded seeds are from the mean of theirs, as fractions, and the mean accuracy of all."""
    found: dict[tuple, list[float]] = {}
    for line in (RESULTS / "learning.jsonl").read_text().splitlines():
        one = json.loads(line)
        if one["minutes"]:
            key = tuple(one.get(name) for name in ("method", "model", "minutes", "commit", "part"))
            found.setdefault(key, []).append(one["linear"] / 100)
    several = [values for values in found.values() if len(values) >= SEEDS]
    scaled = [np.subtract(v, np.mean(v)) * (len(v) / (len(v) - 1)) ** 0.5 for v in several]
    return [float(one) for values in scaled for one in values], float(np.mean([np.mean(v) for v in several]))


def simulated(rng: np.random.Generator, methods: int, images: int, planted: float) -> list[Group]:
    """The results of methods on the same images; the last is better by `planted`."""
    residuals, level = recorded()
    hard, found = rng.normal(size=images), []
    for number in range(methods):
        parts = []
        for residual in rng.choice(residuals, SEEDS):
            own = SHARED**0.5 * hard + (1 - SHARED) ** 0.5 * rng.normal(size=images)
            accuracy = level + planted * (number == methods - 1) + residual
            right = own < np.sqrt(2) * _inverse_erf(2 * accuracy - 1)
            parts.append(Result("linear", "accuracy", mean_of(right), {"train_images": 1}))
        values = [float(part.rows[:, 0].mean()) for part in parts]
        found.append(Group(str(number), over_seeds(parts), values, SEEDS))
    return found


def _inverse_erf(x: float) -> float:
    from scipy.special import erfinv

    return float(erfinv(x))


def clear(methods: int, images: int, planted: float, repeats: int) -> float:
    """The fraction of comparisons in which the last method is called clearly different from the first."""
    rng, count = np.random.default_rng(0), 0
    for _ in range(repeats):
        groups = simulated(rng, methods, images, planted)
        count += difference(groups[-1], groups[0], noise_of(groups)).clear
    return count / repeats


def main() -> int:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    rows, (residuals, level) = {}, recorded()
    print(f"{len(residuals)} recorded runs: std over seeds {100 * np.std(residuals):.2f} points, accuracy {level:.1%}")
    print("| comparison | equal methods called different | three points found |\n|---|---|---|")
    for kind, (methods, images) in KINDS.items():
        rows[kind] = {"equal": clear(methods, images, 0, repeats), "planted": clear(methods, images, PLANTED, repeats)}
        print(f"| {kind} | {rows[kind]['equal']:.1%} | {rows[kind]['planted']:.1%} |")
    record("comparisons", repeats=repeats, seeds=SEEDS, planted=PLANTED, shared=SHARED, rows=rows)
    enough = [row for kind, row in rows.items() if KINDS[kind][1] > FEW]
    return int(any(row["equal"] > 0.05 for row in rows.values()) or any(row["planted"] < 0.8 for row in enough))


if __name__ == "__main__":
    sys.exit(main())
