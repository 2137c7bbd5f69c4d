"""Make the picture of docs/concepts/masks.md: each mask strategy on one scene, and how often it uses each patch.

python docs/images/strategies.py      writes docs/images/strategies.png
"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from openjepa.data.scenes.scenes import draw_scene
from openjepa.masking.coverage import cover, first_masks
from openjepa.masking.samplers import STRATEGIES
from openjepa.recipe_settings import config_of
from openjepa.reports.chart_style import MUTED, STYLE
from openjepa.reports.drawing import draw_masks
from openjepa.runs.images import mask_settings

GRID, SIDE, SEED, SCENE = 12, 240, 1, 17
GIVEN = {"image_size": "96", "patch_size": 8, "masks_per_image": 1, "batch_size": 128}
ROWS = ("one image", "how often context", "how often target")


def shown(axes: Axes, picture: np.ndarray, **settings: object) -> None:
    axes.imshow(picture, **settings)
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def main() -> None:
    scene = draw_scene(SEED, SCENE, (SIDE, SIDE)).image
    with matplotlib.rc_context(STYLE | {"figure.facecolor": "#fdfdfd"}):
        figure = Figure(figsize=(8.4, 5.2), dpi=160, layout="constrained")
        grid = figure.subplots(3, len(STRATEGIES))
        for column, name in zip(grid.T, STRATEGIES, strict=True):
            settings = mask_settings(config_of("laptop", GIVEN | {"masks": name}))
            (masks,) = first_masks(settings, 1, GIVEN["batch_size"], SEED)
            fractions = cover(settings, GIVEN["batch_size"], SEED).fractions
            shown(column[0], draw_masks(scene, *masks[:2], settings.grid_size))
            column[0].set_title(name, fontsize=9)
            for axes, key in zip(column[1:], ("context", "target"), strict=True):
                shown(axes, np.where(fractions[key] > 0, fractions[key], np.nan), vmin=0, vmax=1, cmap="viridis")
        for axes, text in zip(grid[:, 0], ROWS, strict=True):
            axes.set_ylabel(text, color=MUTED, fontsize=8.5)
        bar = figure.colorbar(grid[1, 0].images[0], ax=grid[1:], shrink=0.6, pad=0.01)
        bar.set_label("fraction of images; blank: never", fontsize=8)
        figure.savefig(Path(__file__).with_name("strategies.png"))


if __name__ == "__main__":
    main()
