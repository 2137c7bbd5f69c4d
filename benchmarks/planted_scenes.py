"""Drawn scenes with defects planted in some, in the layout of MVTec AD: five kinds, none larger than a patch of 8 px.

    python benchmarks/planted_scenes.py FOLDER [--train 400] [--normal 150] [--each 40] [--side 128]

`train/good` and `test/good` are scenes as they are drawn; `test/KIND` are other scenes, each with one defect, and
`ground_truth/KIND` their masks. Every file is a pure function of its number.
"""

import argparse
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from openjepa.data.scenes.scenes import Scene, draw_scene

KINDS = "spot", "scratch", "hole", "grain", "cut"
SIZES = 3, 8  # pixels across
SEED = 21


def region(side: int, kind: str, rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """A mask [H, W] of one defect: an ellipse on a solid or on the ground, or a line of up to two patches."""
    across = rng.uniform(*SIZES)
    rows, columns = np.nonzero(scene.owner > 0 if kind == "hole" else scene.owner >= 0)
    place = rng.integers(len(rows))
    y, x = np.ogrid[:side, :side]
    angle = rng.uniform(0, math.pi)
    along = (x - columns[place]) * math.cos(angle) + (y - rows[place]) * math.sin(angle)
    beside = (y - rows[place]) * math.cos(angle) - (x - columns[place]) * math.sin(angle)
    if kind == "scratch":
        return (np.abs(along) <= across) & (np.abs(beside) <= 0.6)
    return (2 * along / across) ** 2 + (2 * beside / (across * rng.uniform(0.6, 1))) ** 2 <= 1


def content(picture: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """What is seen in the region of a defect, for the whole picture, float64 [H, W, 3]."""
    if kind == "spot":
        return np.broadcast_to(picture.mean((0, 1)) + rng.choice((-1, 1)) * rng.uniform(35, 70, 3), picture.shape)
    if kind == "scratch":
        return picture + rng.choice((-1, 1)) * rng.uniform(40, 80)
    if kind == "hole":
        return 0.35 * picture
    if kind == "grain":
        return picture + rng.choice((-1, 1), picture.shape[:2])[..., None] * rng.uniform(20, 35)
    return np.roll(np.rot90(picture, 1), rng.integers(20, len(picture) - 20, 2), (0, 1))


def plant(scene: Scene, kind: str, number: int) -> tuple[Image.Image, Image.Image]:
    """The picture of a scene with a defect, and its mask."""
    rng = np.random.default_rng([SEED, KINDS.index(kind), number])
    picture = scene.image.astype(np.float64)
    mask = region(len(picture), kind, rng, scene)
    soft = np.asarray(Image.fromarray(np.uint8(255 * mask)).filter(ImageFilter.GaussianBlur(0.5)), float)[..., None]
    mixed = picture + soft / 255 * (content(picture, kind, rng) - picture)
    return Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8)), Image.fromarray(np.uint8(255 * mask))


def write(folder: Path, train: int, normal: int, each: int, side: int) -> None:
    """The whole set."""
    number = 0
    for part, count in (("train/good", train), ("test/good", normal)):
        (folder / part).mkdir(parents=True)
        for _ in range(count):
            Image.fromarray(draw_scene(SEED, number, (side, side)).image).save(folder / part / f"{number:05}.png")
            number += 1
    for kind in KINDS:
        for part in ("test", "ground_truth"):
            (folder / part / kind).mkdir(parents=True)
        for _ in range(each):
            picture, mask = plant(draw_scene(SEED, number, (side, side)), kind, number)
            picture.save(folder / "test" / kind / f"{number:05}.png")
            mask.save(folder / "ground_truth" / kind / f"{number:05}_mask.png")
            number += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=400)
    parser.add_argument("--normal", type=int, default=150)
    parser.add_argument("--each", type=int, default=40)
    parser.add_argument("--side", type=int, default=128)
    write(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
