"""Make the picture of docs/concepts/ijepa.md: what the networks of I-JEPA see of an image, and what is compared.

python docs/images/ijepa.py      writes docs/images/ijepa.png
"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from openjepa.data.scenes.scenes import draw_scene
from openjepa.masking.samplers import sample_masks
from openjepa.masking.settings import MaskSettings
from openjepa.reports.chart_style import INK, LINE, MUTED, RUN, STYLE, UNTRAINED
from openjepa.reports.drawing import VEIL, outline

SIDE, SEED, SCENE, STEP = 192, 1, 17, 4
SETTINGS = MaskSettings((8, 8), context_ratio=0.3)
TOP, BOTTOM, PICTURE = 2.55, 0.35, 1.35  # of the two rows, and the side of a picture


def region(ids: np.ndarray) -> np.ndarray:
    """The pixels of patches: bool [SIDE, SIDE]."""
    inside = np.zeros(SETTINGS.num_patches, bool)
    inside[ids.ravel()] = True
    cell = SIDE // SETTINGS.grid_size[0]
    return inside.reshape(SETTINGS.grid_size).repeat(cell, axis=0).repeat(cell, axis=1)


def pictures() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A scene, its context alone, and the scene with one target block outlined: uint8 [SIDE, SIDE, 3]."""
    scene = draw_scene(SEED, SCENE, (SIDE, SIDE)).image
    masks = sample_masks(SETTINGS, 1, SEED, STEP)
    context, target = region(masks.context_ids[0].numpy()), region(masks.target_ids[0, 0].numpy())
    seen = np.where(context[..., None], scene, VEIL.astype(np.uint8))
    asked = scene.copy()
    asked[outline(target, 4)] = (240, 148, 50)
    return scene, seen, asked


def box(axes: Axes, x: float, y: float, text: str, colour: str, width: float = 1.5) -> None:
    shape = FancyBboxPatch((x, y - 0.27), width, 0.54, "round,pad=0.04", fc="white", ec=colour, lw=1.6)
    axes.add_patch(shape)
    axes.text(x + width / 2, y, text, ha="center", va="center", fontsize=9, color=INK)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], style: str = "-", text: str = "") -> None:
    arrows = {"arrowstyle": "-|>", "color": MUTED, "lw": 1.3, "linestyle": style}
    axes.annotate("", end, start, arrowprops=arrows)
    axes.text((start[0] + end[0]) / 2 + 0.08, (start[1] + end[1]) / 2, text, fontsize=8, color=MUTED, va="center")


def draw(axes: Axes) -> None:
    scene, seen, asked = pictures()
    for picture, y, title in ((seen, TOP, "context: visible patches"), (scene, BOTTOM, "the whole image")):
        axes.imshow(picture, extent=(0, PICTURE, y, y + PICTURE), zorder=2)
        axes.text(0, y - 0.08, title, fontsize=8, color=MUTED, va="top")
    axes.imshow(asked, extent=(4.0, 4.0 + PICTURE, BOTTOM, BOTTOM + PICTURE), zorder=2)
    axes.text(4.0, BOTTOM - 0.08, "targets: patches of the block", fontsize=8, color=MUTED, va="top")
    up, down = TOP + PICTURE / 2, BOTTOM + PICTURE / 2
    box(axes, 1.95, up, "context encoder", RUN)
    box(axes, 1.95, down, "target encoder", UNTRAINED)
    box(axes, 4.0, up, "predictor", RUN)
    box(axes, 6.25, up, "predicted\nrepresentations", LINE)
    box(axes, 6.25, down, "target\nrepresentations", LINE)
    for y in (up, down):
        arrow(axes, (PICTURE, y), (1.9, y))
        arrow(axes, (3.5, y), (3.95, y))
        arrow(axes, (5.55, y) if y == up else (4.0 + PICTURE, y), (6.2, y))
    arrow(axes, (2.7, up - 0.32), (2.7, down + 0.34), "--", "moving average\nof the weights")
    arrow(axes, (4.75, up - 1.0), (4.75, up - 0.34), text="where: mask tokens\nwith positions")
    axes.annotate("", (7.0, down + 0.34), (7.0, up - 0.34), arrowprops={"arrowstyle": "<|-|>", "color": INK, "lw": 1.3})
    axes.text(7.08, (up + down) / 2, "loss: their\ndistance", fontsize=8.5, va="center")
    axes.set(xlim=(-0.05, 7.9), ylim=(0.05, 4.0), aspect="equal")
    axes.axis("off")


def main() -> None:
    with matplotlib.rc_context(STYLE | {"figure.facecolor": "#fdfdfd"}):
        figure = Figure(figsize=(7.95, 4.0), dpi=160)
        draw(figure.add_axes((0, 0, 1, 1)))
        figure.savefig(Path(__file__).with_name("ijepa.png"))


if __name__ == "__main__":
    main()
