"""Pictures for tests."""

from pathlib import Path

import numpy as np
from PIL import Image


def draw_photos(
    folder: Path, count: int = 24, classes: tuple[str, ...] = ("cat", "dog"), side: int = 20, width: int = 0
) -> Path:
    """A folder of small JPEG pictures that differ, one folder a class; without classes they lie flat.

    They are `side` pixels high and, unless given, as wide.
    """
    rng = np.random.default_rng(len(classes))
    for i in range(count):
        home = folder / classes[i % len(classes)] if classes else folder
        home.mkdir(parents=True, exist_ok=True)
        rough = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        rough[..., i % max(1, len(classes))] //= 4
        Image.fromarray(rough).resize((width or side, side), Image.Resampling.BICUBIC).save(home / f"{i:03}.jpg")
    return folder
