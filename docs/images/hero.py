"""Make the README's picture from a short run on drawn scenes: search, regions, patches and defects.

python docs/images/hero.py [WORK]      writes docs/images/hero.png

WORK (build/hero) keeps the scenes, the run, the index and the detector; where they are, only the picture is drawn.
Training takes about ten minutes of one core. The scenes that are asked with were chosen by hand, the answers are what
the commands give.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from PIL import Image, ImageDraw

import openjepa
from openjepa.anomaly.evaluate import enlarged
from openjepa.data.scenes.palettes import PAINTS, THEMES
from openjepa.data.scenes.render import World, render
from openjepa.data.scenes.scenes import draw_scene
from openjepa.data.scenes.solids import Solid
from openjepa.reports.anomaly.pictures import heat
from openjepa.reports.chart_style import INK, LINE, MUTED, PAPER, RUN, STYLE
from openjepa.reports.drawing import VEIL
from openjepa.runs.detectors import open_detector

SCENES, PARTS = 4000, 24
SIDE, SHOWN, CELL = 96, 288, 8  # pixels that the model sees of an image and that are shown, and of a patch
ASKED, BOX = 127, (36, 27, 72, 64)  # a scene to search with, and a box of it (left, top, right, bottom)
LOOKED, PATCH = (5, 3791), (5, 4)  # two scenes, and (row, column) of a patch of the first
AVERAGED = 128  # scenes whose mean token is taken off
ORANGE = "#f09432"
WIDTH, MARGIN, GAP, TILE, TITLE = 1200, 26, 12, 178, 62  # in 1200ths of the width, of which a row has six tiles
ROW, TOP = TITLE + TILE, 10
HEIGHT = 3 * ROW + MARGIN + TOP


def scene(index: int, side: int = SHOWN) -> np.ndarray:
    return draw_scene(0, index, (side, side)).image


def part(seed: int, side: int = SHOWN) -> Image.Image:
    """A ring on a tiled table; camera, light and place differ a little from seed to seed."""
    rng = np.random.default_rng(seed)
    theme, azimuth, height = THEMES[4], 0.9 + rng.uniform(-0.1, 0.1), 0.75
    level = np.sqrt(1 - height * height)
    x, z = rng.uniform(-0.03, 0.03), 3.3 + rng.uniform(-0.04, 0.04)
    world = World(
        eye=2.6,
        tilt=-0.7,
        sun=(level * np.cos(azimuth), height, -level * np.sin(azimuth)),
        sunlight=theme[4] * rng.uniform(0.95, 1.1),
        zenith=theme[0],
        horizon=theme[1],
        ground=theme[2:4],
        fog=0.02,
        tile=0.5,
        turn=0.3,
        shift=(x, z),
        solids=(Solid("torus", x, z, 0.8, 0.72, 0.0, PAINTS[3], 0.3),),
    )
    return Image.fromarray(render(world, (side, side))[0])


def damaged(image: Image.Image) -> Image.Image:
    """The part with a scratch."""
    image = image.copy()
    unit = image.width / 288
    points = [(88, 196), (112, 205), (126, 200), (150, 214), (171, 211)]
    ImageDraw.Draw(image).line([(x * unit, y * unit) for x, y in points], (38, 70, 72), round(4 * unit), "curve")
    return image


def write(images: Iterable[np.ndarray | Image.Image], folder: Path, count: int) -> Path:
    """Write images as PNG files of SIDE pixels, unless so many are there."""
    folder.mkdir(parents=True, exist_ok=True)
    if len([*folder.iterdir()]) != count:
        for number, image in enumerate(images):
            small = image if isinstance(image, Image.Image) else Image.fromarray(image)
            small.resize((SIDE, SIDE), Image.Resampling.BOX).save(folder / f"{number:04d}.png")
    return folder


def prepare(work: Path) -> None:
    """Train, index, and learn from good parts, as the commands of the same names do."""
    scenes = write((scene(index, SIDE) for index in range(SCENES)), work / "scenes", SCENES)
    parts = write((part(seed) for seed in range(PARTS)), work / "good", PARTS)
    if not (work / "run" / "encoder").exists():
        openjepa.pretrain(
            str(scenes),
            out=work / "run",
            resume=(work / "run").exists(),
            image_size=SIDE,
            patch_size=CELL,
            context_ratio=0.2,
            steps=800,
            workers=0,
        )
    if not (work / "scenes.index").exists():
        openjepa.index(work / "run", str(scenes), out=work / "scenes.index", patches=True)
    if not (work / "detector").exists():
        openjepa.anomaly_fit(work / "run", str(parts), out=work / "detector")


def index_of(path: str) -> int:
    return int(Path(path).stem)


def similarity(encoder: openjepa.Encoder) -> list[np.ndarray]:
    """The cosine of every patch of two scenes to one patch of the first, less the mean of each place."""
    mean = encoder.patch_tokens([scene(index, SIDE) for index in range(AVERAGED)]).mean(dim=0)
    tokens = encoder.patch_tokens([scene(index, SIDE) for index in LOOKED]) - mean
    tokens = torch.nn.functional.normalize(tokens, dim=-1)
    return [*(tokens @ tokens[0, *PATCH]).numpy()]


def lit(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """An image as it is where a map of similarities is .75 or more, and dimmed where it is 0 or less."""
    large = Image.fromarray(values.astype(np.float32)).resize(image.shape[:2], Image.Resampling.BICUBIC)
    shown = np.clip(np.asarray(large) / 0.75, 0, 1)[..., None]
    return (shown * image + (1 - shown) * (0.16 * image + 0.84 * VEIL)).round().astype(np.uint8)


def place(row: int, column: int) -> tuple[float, float]:
    """The upper left corner of a tile; the first tile of a row, and half rows, stand a little apart."""
    apart = WIDTH - 2 * MARGIN - 6 * TILE - 4 * GAP
    after = 1 if row < 2 else 3
    return MARGIN + column * (TILE + GAP) + (apart - GAP) * (column >= after), TOP + row * ROW + TITLE


def show(axes: Axes, image: np.ndarray, row: int, column: int, edge: str = LINE) -> None:
    x, y = place(row, column)
    axes.imshow(image, extent=(x, x + TILE, y + TILE, y), interpolation="lanczos")
    width = 0.7 if edge == LINE else 3.6
    axes.add_patch(Rectangle((x, y), TILE, TILE, fill=False, ec=edge, lw=width, zorder=3))


def frame(axes: Axes, row: int, column: int, box: Sequence[float], width: float = 5) -> None:
    """A box (left, top, right, bottom), in pixels of SIDE, around a part of a tile."""
    x, y = place(row, column)
    left, top, right, bottom = (TILE / SIDE * side for side in box)
    for colour, line in ((INK, width), (ORANGE, width / 2)):
        shape = Rectangle((x + left, y + top), right - left, bottom - top, fill=False, ec=colour, lw=line)
        axes.add_patch(shape).set(zorder=4, joinstyle="miter")


def title(axes: Axes, row: int, column: int, text: str, rest: str) -> None:
    x, y = place(row, column)
    written = axes.text(x, y - 16, text, fontsize=21.5, fontweight="bold", color=INK)
    axes.annotate(
        rest,
        (1, 0),
        xycoords=written,
        xytext=(9, 0),
        textcoords="offset points",
        va="bottom",
        fontsize=21.5,
        color=MUTED,
    )


def rows_of_search(axes: Axes, work: Path) -> None:
    index = openjepa.open_index(work / "scenes.index")
    title(axes, 0, 0, "Search", "by an image")
    show(axes, scene(ASKED), 0, 0, RUN)
    for column, found in enumerate(index.search(f"{ASKED:04d}.png", top=5).to_pylist(), 1):
        show(axes, scene(index_of(found["path"])), 0, column)
    title(axes, 1, 0, "Search", "by a part of one")
    show(axes, scene(ASKED), 1, 0, RUN)
    frame(axes, 1, 0, BOX)
    for column, found in enumerate(index.search(f"{ASKED:04d}.png", top=5, box=BOX).to_pylist(), 1):
        show(axes, scene(index_of(found["path"])), 1, column)
        frame(axes, 1, column, [found[side] for side in ("x0", "y0", "x1", "y1")])


def row_of_maps(axes: Axes, work: Path) -> None:
    encoder = openjepa.load_encoder(work / "run")
    title(axes, 2, 0, "Patches", "like this one")
    show(axes, scene(LOOKED[0]), 2, 0, RUN)
    top, left = (CELL * number for number in PATCH)
    frame(axes, 2, 0, (left, top, left + CELL, top + CELL), width=3.4)
    for column, (index, values) in enumerate(zip(LOOKED, similarity(encoder), strict=True), 1):
        show(axes, lit(scene(index), values), 2, column)
    title(axes, 2, 3, "Defects", "given good parts only")
    detector, _ = open_detector(work / "detector", None, torch.device("cpu"), torch.float32)
    good, bad = part(0), damaged(part(1000))
    small = torch.from_numpy(np.array(bad.resize((SIDE, SIDE), Image.Resampling.BOX))).permute(2, 0, 1)
    odd = enlarged(detector.score(small[None]).maps[0], detector).numpy()
    odd = np.asarray(Image.fromarray(odd).resize((SHOWN, SHOWN), Image.Resampling.BILINEAR))
    show(axes, np.asarray(good), 2, 3, RUN)
    show(axes, np.asarray(bad), 2, 4)
    show(axes, heat(np.asarray(bad), odd), 2, 5)


def main() -> None:
    work = Path(sys.argv[1] if len(sys.argv) > 1 else "build/hero")
    prepare(work)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=120)
        axes = figure.add_axes((0, 0, 1, 1))
        card = FancyBboxPatch(
            (1, 1), WIDTH - 2, HEIGHT - 2, "round,pad=0,rounding_size=16", fc=PAPER, ec=LINE, lw=1, zorder=-1
        )
        axes.add_patch(card)
        rows_of_search(axes, work)
        row_of_maps(axes, work)
        axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
        axes.axis("off")
        figure.savefig(Path(__file__).with_name("hero.png"), transparent=True, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()
