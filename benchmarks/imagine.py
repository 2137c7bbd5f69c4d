"""How well a predictor knows what is hidden: the rank of the true patch among real ones, and the energy of pairs.

    python benchmarks/imagine.py [--sets scenes] [--folder FOLDER] [--steps 640] [--seeds 0 1 2] [--images 100]

Scenes are drawn; FOLDER holds imagenette128_all.zip and bsd_anomaly.zip for the other sets. For each set and seed an
encoder is trained for so many steps (640: about four minutes of a core on scenes), or taken from --runs FOLDER, where
it is kept as SET-SEED. In images that it was not trained on, five blocks of an eighth of the patches are hidden, one
after another, and foretold from all the others.

`among 1 %`: of how many hidden patches the true one is among the 1 % of real patches that are nearest to what was
foretold, of all other patches of all the images. Beside the predictor stand one that is given the mean context tokens
of all images, and so positions only; the mean representation of that place; and that of all patches.
`matched lower`: of how many pairs of images the energy of the true region is below that of the same region of another
image. Both also for networks with their first weights. Prints a table and writes results/imagine.json.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import commit, record
from torch import Tensor

import openjepa
from openjepa.anomaly.energy import Energies, Hidden, everything_but, first_weights
from openjepa.data.dataset import ImageDataset
from openjepa.data.open import open_dataset
from openjepa.encoder.features import Crops
from openjepa.encoder.windows import Window
from openjepa.runs.detectors import open_energies

SETS: dict[str, dict[str, Any]] = {
    "scenes": {"recipe": "laptop"},
    "imagenette": {"recipe": "laptop"},
    "bsd": {"recipe": "laptop", "image_size": "96x240", "patch_size": 16},
}
BLOCKS, NEAR, SHIFTS = 5, 0.01, (1, 2, 3)
ASKED = 2000  # hidden patches of a block that are ranked, at most, evenly spread over all images


def images_of(name: str, folder: Path) -> tuple[str, ImageDataset]:
    """The images to train on, by name, and others."""
    if name == "scenes":
        return "scenes:3000:0", open_dataset("scenes:2000:1")
    archive = folder / {"imagenette": "imagenette128_all.zip", "bsd": "bsd_anomaly.zip"}[name]
    train, test = {"imagenette": ("train", "val"), "bsd": ("train/good", "test/good")}[name]
    return f"{archive}/{train}", open_dataset(f"{archive}/{test}")


def drawn(dataset: ImageDataset, energies: Energies, count: int, seed: int) -> Tensor:
    """Preprocessed images [n, C, H, W] of a dataset."""
    chosen = dataset.subset(np.sort(np.random.default_rng(seed).permutation(len(dataset))[:count]))
    return Crops(chosen, energies.encoder.frame, len(chosen))[0][0]


def blocks(grid_size: tuple[int, int], seed: int) -> Iterator[Hidden]:
    """Rectangles of about an eighth of the patches, and all others visible."""
    rows, columns = (max(1, round(side / 8**0.5)) for side in grid_size)
    rng = np.random.default_rng(seed)
    for _ in range(BLOCKS):
        top, left = rng.integers(grid_size[0] - rows + 1), rng.integers(grid_size[1] - columns + 1)
        yield everything_but(Window(int(top), int(left), rows, columns).places(grid_size[1]), grid_size)


def among_nearest(predicted: Tensor, targets: Tensor, hidden: Hidden) -> float:
    """Of how many hidden patches [n, Nt] fewer than 1 % of all other real patches are nearer than the true one."""
    pool, dimensions, found = targets.flatten(0, 1), targets.shape[2], []
    asked = torch.linspace(0, predicted[..., 0].numel() - 1, min(ASKED, predicted[..., 0].numel())).round().long()
    parts = (each.flatten(0, 1)[asked].split(64) for each in (targets[:, hidden.targets], predicted))
    for own, row in zip(*parts, strict=True):
        true = (row - own).square().sum(dim=1, keepdim=True)
        distances = row.square().sum(1, keepdim=True) + pool.square().sum(1) - 2 * row @ pool.T
        closer = (distances < true - 1e-4 * dimensions).sum(dim=1)
        found.append(closer < NEAR * (len(pool) - 1))
    return float(torch.cat(found).float().mean())


@torch.inference_mode()
def from_positions(energies: Energies, images: Tensor, hidden: Hidden) -> Tensor:
    """What the predictor says when it is given the mean of the context tokens of all images: [1, Nt, D]."""
    ids = hidden.context.expand(len(images), -1)
    context = energies.context(energies.encoder.standardised(images), ids).mean(dim=0, keepdim=True)
    width = energies.targets(images[:1]).shape[2]
    return energies.predictor(context, ids[:1], hidden.targets.expand(1, 1, -1))[:, 0, :, :width]


def ranks(energies: Energies, images: Tensor, seed: int) -> dict[str, float]:
    """The means of `among_nearest` over blocks, for the predictor and for what knows less."""
    targets, found = energies.targets(images), []
    for hidden in blocks(energies.grid_size, seed):
        place = targets[:, hidden.targets].mean(dim=0, keepdim=True)
        known = {
            "predictor": energies.predicted(images, hidden),
            "positions only": from_positions(energies, images, hidden),
            "mean of the place": place,
            "mean of all": targets.mean(dim=(0, 1)).expand_as(place),
        }
        wide = {name: each.expand(len(images), -1, -1) for name, each in known.items()}
        found.append({name: among_nearest(each, targets, hidden) for name, each in wide.items()})
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def matched_lower(energies: Energies, images: Tensor, seed: int) -> float:
    """Of how many pairs the energy of the true region is below that of the same region of another image."""
    found = []
    for hidden in blocks(energies.grid_size, seed):
        own = energies.pairs(images, images, hidden.targets)
        found += [own < energies.pairs(images, images.roll(shift, 0), hidden.targets) for shift in SHIFTS]
    return float(torch.cat(found).float().mean())


def rows_of(energies: Energies, images: Tensor, seed: int) -> Iterator[dict[str, Any]]:
    """A row for the trained networks and one for those with their first weights, in per cent."""
    for name, each in (("trained", energies), ("untrained", first_weights(energies, seed))):
        found = {f"among 1 %, {what}": value for what, value in ranks(each, images, seed).items()}
        found["matched lower"] = matched_lower(each, images, seed)
        yield {"networks": name, **{what: round(100 * value, 1) for what, value in found.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=["scenes"])
    parser.add_argument("--folder", type=Path, default=Path("."))
    parser.add_argument("--steps", type=int, default=640)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--runs", type=Path, default=Path(tempfile.mkdtemp()))
    given = parser.parse_args()
    rows = []
    for name in given.sets:
        train, test = images_of(name, given.folder)
        for seed in given.seeds:
            run = given.runs / f"{name}-{seed}"
            if not run.exists():
                how = {**SETS[name], "steps": given.steps, "seed": seed, "workers": 0, "device": "cpu"}
                openjepa.pretrain(train, out=run, **how)
            energies = open_energies(str(run))
            for row in rows_of(energies, drawn(test, energies, given.images, seed), seed):
                rows.append({"set": name, "seed": seed, **row})
                print(*rows[-1].values(), sep=" · ", flush=True)
    record("imagine", commit=commit(), steps=given.steps, images=given.images, rows=rows)


if __name__ == "__main__":
    main()
