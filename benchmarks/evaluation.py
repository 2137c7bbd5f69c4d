"""What evaluating 10,000 + 10,000 images costs in processor seconds: features of ViT-Ti/4 at 32 px, and each probe.

python benchmarks/evaluation.py
"""

import time
from collections.abc import Callable

import torch

from openjepa.evaluation.baselines import seeded
from openjepa.evaluation.device import choose_device, choose_precision
from openjepa.evaluation.encoder import Encoder
from openjepa.evaluation.fewshot import fit_shots
from openjepa.evaluation.knn import knn_predict
from openjepa.evaluation.retrieval import retrieve
from openjepa.evaluation.ridge import ridge
from openjepa.evaluation.variants import Features, best_linear

N, CLASSES, IMAGES = 10_000, 10, 512


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds, of all threads, which other programs on the machine change less than the clock on the wall."""
    start = time.process_time()
    work()
    return time.process_time() - start


def feature_seconds() -> float:
    device = choose_device()
    network = seeded(0, image_size=(32, 32), patch_size=4, embed_dim=192, depth=12, num_heads=3)
    model = Encoder(network, [0.5] * 3, [0.25] * 3, "vit_tiny", device, choose_precision("auto", device))
    images = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8)
    model.layer_features(images[:64])
    return seconds(lambda: [model.layer_features(part) for part in images.split(128)]) / IMAGES


def probe_seconds(width: int, layers: int) -> dict[str, float]:
    """On planted features `width` wide, and `layers` times that for the linear probe."""
    g = torch.Generator().manual_seed(0)
    y = torch.randint(CLASSES, (2 * N,), generator=g)
    x = torch.randn(2 * N, layers * width, generator=g) * torch.logspace(0, -2, layers * width)
    x += 0.05 * torch.randn(CLASSES, layers * width, generator=g)[y]
    parts = [Features(half[:, -width:], half if layers > 1 else None) for half in x.split(N)]
    (train, test), (labels, truth), looks = parts, y.split(N), torch.randn(N, 7, generator=g)
    works = {
        "linear": lambda: best_linear(train, labels, test, 0),
        "knn": lambda: knn_predict(train.last, labels, test.last),
        "fewshot, 10 a class": lambda: [fit_shots(train.last[:100], labels[:100], test.last, 0) for _ in range(5)],
        "retrieval": lambda: retrieve(train.last, labels, test.last, truth),
        "probe-appearance": lambda: ridge(train.last[1000:], looks[1000:], train.last[:1000], looks[:1000]),
    }
    return {name: seconds(work) for name, work in works.items()}


if __name__ == "__main__":
    print(f"features: {1000 * feature_seconds():.1f} ms an image")
    for name, width, layers in (("ViT-Ti/4", 192, 4), ("raw pixels", 3072, 1)):
        print(f"{name}:", ", ".join(f"{task} {cost:.1f} s" for task, cost in probe_seconds(width, layers).items()))
