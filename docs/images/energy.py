"""Make the pictures of docs/concepts/energy.md and docs/imagine.md from a short run on drawn scenes.

python docs/images/energy.py [RUN]      writes docs/images/energy.png and docs/images/imagine.png

RUN (build/energy) keeps the run; where it is, only the pictures are drawn. Training (640 steps) takes four minutes of a
core.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

import openjepa
from openjepa.anomaly.energy import Energies, first_weights
from openjepa.anomaly.imagination import Window, imagine, noise_like, with_region
from openjepa.anomaly.nearest_patches import RealPatches
from openjepa.data.open import open_dataset
from openjepa.reports.anomaly.imagine_pictures import filled, hidden_picture
from openjepa.reports.chart_style import INK, RUN, STYLE, UNTRAINED
from openjepa.reports.drawing import contact_sheet
from openjepa.runs.detectors import open_energies

HERE = Path(__file__).parent
TRAIN, TEST, COUNT = "scenes:3000", "scenes:1200:1", 120
WINDOW = Window(3, 3, 3, 3)  # of 8 x 8 patches
STEPS = range(10)  # patches of the window that are swapped
SHOWN = (3, 11, 24, 30, 57, 101)


def scenes(energies: Energies, count: int) -> Tensor:
    dataset = open_dataset(TEST)
    return energies.encoder.preprocess([dataset.load(index) for index in range(count)])


def swapped(images: Tensor, energies: Energies, kind: str, patches: int) -> Tensor:
    """Images of which so many patches of the window show something else: another image, another block, or noise."""
    size, rng, found = energies.target.patch_size, np.random.default_rng(0), []
    rows, columns = WINDOW.pixels(size)
    corner = Window(0, 0, WINDOW.rows, WINDOW.columns).pixels(size)
    for number, image in enumerate(images):
        other = {
            "image": images[(number + 1) % len(images)][:, rows, columns],
            "block": image[(slice(None), *corner)],
            "noise": noise_like(image, WINDOW, size, number)[0],
        }[kind]
        content = image[:, rows, columns].clone()
        for place in rng.permutation(WINDOW.rows * WINDOW.columns)[:patches]:
            one = Window(*divmod(int(place), WINDOW.columns), 1, 1).pixels(size)
            content[(slice(None), *one)] = other[(slice(None), *one)]
        found.append(with_region(image, WINDOW, size, content))
    return torch.stack(found)


def curves(energies: Energies, images: Tensor) -> dict[str, list[float]]:
    """The mean energy of the window by the number of its patches that were swapped, and of pairs of images."""
    region = WINDOW.places(energies.grid_size[1])
    found = {
        kind: [float(energies.pairs(images, swapped(images, energies, kind, n), region).mean()) for n in STEPS]
        for kind in ("image", "block", "noise")
    }
    pairs = [float(energies.pairs(images, images.roll(shift, 0), region).mean()) for shift in (0, 1)]
    return found | {"pairs": pairs}


def draw_curves(axes: Axes, energies: Energies, images: Tensor, title: str) -> None:
    """Energies over that of the true region, so that both kinds of networks stand on one scale."""
    found, styles = curves(energies, images), {"image": (RUN, "o"), "block": (UNTRAINED, "s"), "noise": (INK, "^")}
    true = found["pairs"][0]
    for kind, (colour, marker) in styles.items():
        axes.plot(STEPS, np.array(found[kind]) / true, color=colour, marker=marker, ms=4, label=f"{kind} swap")
    other = found["pairs"][1] / true
    axes.axhline(other, color=RUN, linestyle="--", linewidth=1, label="region of another image")
    axes.set(xlabel="patches of the hidden block that are swapped", title=f"{title}: true region {true:.2f}")
    print(title, {kind: [round(value, 3) for value in values] for kind, values in found.items()})


def energy_picture(energies: Energies) -> None:
    images = scenes(energies, COUNT)
    with matplotlib.rc_context(STYLE | {"figure.facecolor": "#fdfdfd"}):
        figure = Figure(figsize=(8.4, 3.2), layout="constrained", dpi=160)
        left, right = figure.subplots(1, 2, sharey=True)
        draw_curves(left, energies, images, "trained")
        draw_curves(right, first_weights(energies), images, "untrained")
        left.set_ylabel("energy, over that of the true region")
        right.legend(fontsize=8, loc="center")
        figure.savefig(HERE / "energy.png")


def imagine_picture(energies: Energies) -> None:
    """A row for each of some scenes: the hidden block, the nearest patches of other scenes, and the truth."""
    images, grid_size, tiles = scenes(energies, 1101), energies.grid_size, []
    pictures = images.permute(0, 2, 3, 1).numpy()
    targets, places = energies.targets(images), torch.arange(64)
    for number in SHOWN:
        others = [index for index in range(len(images)) if index != number]
        block = [RealPatches(targets[others], others, places)]
        found = imagine(energies, images[number], WINDOW, block, draws=1, top=1)
        nearest = found.nearest.images[:, 0].tolist(), found.nearest.places[:, 0].tolist()
        expected = filled(pictures[number], WINDOW, [*zip(*nearest, strict=True)], pictures.__getitem__, grid_size)
        context = found.hidden[0].context
        tiles.append(hidden_picture(pictures[number], WINDOW, context, grid_size, blank=True))
        tiles += [hidden_picture(each, WINDOW, context, grid_size) for each in (expected, pictures[number])]
    sheet = contact_sheet(tiles, columns=6)
    Image.fromarray(sheet).resize((sheet.shape[1] * 2 // 3, sheet.shape[0] * 2 // 3)).save(
        HERE / "imagine.png", optimize=True
    )


def main() -> None:
    run = Path(sys.argv[1] if len(sys.argv) > 1 else "build/energy")
    if not run.exists():
        openjepa.pretrain(TRAIN, out=run, recipe="laptop", steps=640, workers=0, device="cpu")
    energies = open_energies(str(run))
    energy_picture(energies)
    imagine_picture(energies)


if __name__ == "__main__":
    main()
