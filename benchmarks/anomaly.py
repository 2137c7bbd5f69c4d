"""How well anomalies are found: image AUROC and AUPRO of an encoder of a few minutes, beside models without training.

    python benchmarks/anomaly.py FOLDER [--minutes 6] [--seeds 0 1 2] [--train 250] [--test 150]

FOLDER holds bsd_anomaly.zip and pcb_anomaly.zip, in the layout of MVTec AD. For each set and seed an encoder is trained
on the normal images for so many minutes, or taken from --runs FOLDER, where it is kept as SET-SEED. Detectors are
fitted on k = 1, 4, 16 and `--train` normal images drawn by the seed and tested on at most `--test` images of each
class. Prints a table and writes results/anomaly.json. Features are computed once for all k.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import commit, record
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torchvision.models import resnet18

import openjepa
from openjepa.anomaly.energy import Energies
from openjepa.anomaly.evaluate import region_histograms
from openjepa.anomaly.fitting.fit import FitSettings, Fitter
from openjepa.anomaly.labelled import label_images
from openjepa.anomaly.metrics import aupro
from openjepa.anomaly.patches import PatchFeatures, PatchModel, PatchSettings, most_layers
from openjepa.data.crops import Frame
from openjepa.data.dataset import ImageDataset
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.data.open import open_dataset
from openjepa.encoder.baselines import PatchPixels, untrained_like
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import compute_features
from openjepa.runs.detectors import open_energies, score_images

SETS: dict[str, dict[str, Any]] = {
    "bsd": {"image_size": "104x256", "patch_size": 8},
    "pcb": {"image_size": "256", "patch_size": 16},
}
SHOTS = (1, 4, 16)
OURS = ("memory", "density", "image", "energy")
COMBINATIONS = (("memory", "density"), ("memory", "density", "energy"))


class RandomResNet:
    """The maps of the second stage of torchvision's ResNet-18 with its first weights, at the size of another model."""

    name = "ResNet-18, random"

    def __init__(self, like: Encoder, seed: int) -> None:
        self.like, self.frame, self.image_size = like, like.frame, like.image_size
        self.pixel_format = like.pixel_format
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            whole = resnet18(weights=None).eval()
        self.body = nn.Sequential(*list(whole.children())[:6])

    @property
    def grid_size(self) -> tuple[int, int]:
        return self.image_size[0] // 8, self.image_size[1] // 8

    @torch.inference_mode()
    def tokens(self, images: Tensor) -> Tensor:
        pixels = self.like.standardised(images)
        colours = pixels if pixels.shape[1] == 3 else pixels[:, :1].expand(-1, 3, -1, -1)
        return self.body(colours).flatten(2).transpose(1, 2)

    def features(self, images: Tensor) -> Tensor:
        return self.tokens(images).mean(dim=1)


class Numbers(ImageDataset):
    """Images of one pixel, which is the number of an image."""

    pixel_format = PixelFormat(1, "raw")

    def __init__(self, numbers: np.ndarray, like: ImageDataset) -> None:
        self.numbers, self.like, self.source = numbers, like, like.source
        self.paths = list(map(str, numbers))
        self.labels, self.classes = {}, {}

    def __len__(self) -> int:
        return len(self.numbers)

    def load(self, index: int) -> np.ndarray:
        return np.full((1, 1, 1), self.numbers[index], np.float32)

    def subset(self, indices: Any) -> "Numbers":
        return Numbers(self.numbers[np.asarray(indices)], self.like)


class Kept:
    """A model of such images: what another one gave for them, and its energies."""

    pixel_format, frame, image_size = Numbers.pixel_format, Frame((1, 1)), (1, 1)

    def __init__(self, model: PatchModel, readings: Tensor) -> None:
        self.name, self.grid_size, self.readings = model.name, model.grid_size, readings

    def tokens(self, images: Tensor) -> Tensor:
        return self.readings[images[:, 0, 0, 0].long()][..., :-1].float()

    def maps(self, images: Tensor) -> Tensor:
        return self.readings[images[:, 0, 0, 0].long()][..., -1].float()

    def features(self, images: Tensor) -> Tensor:
        return self.tokens(images).mean(dim=1)


def readings_of(model: PatchModel, dataset: ImageDataset, energies: Energies | None, workers: int) -> Tensor:
    """Features and energies of every image, [n, N, D + 1]."""
    features = PatchFeatures(model, PatchSettings(most_layers(model, 2)))

    def compute(images: Tensor) -> Tensor:
        found = features(images)
        energy = energies.maps(images) if energies else torch.zeros(found.shape[:2])
        return torch.cat([found, energy.unsqueeze(-1)], dim=-1)

    return compute_features(model, dataset, workers, 16, compute=compute)[0]


class Part:
    """The images of a set: normal ones to fit on, and at most `most` of each class to test on."""

    def __init__(self, source: Path, normals: int, most: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        train = open_dataset(f"{source}/train/good")
        self.train = train.subset(rng.permutation(len(train))[:normals])
        whole = label_images(open_dataset(f"{source}/test"))
        drawn = [rng.permutation(np.flatnonzero(whole.anomalous == odd))[:most] for odd in (False, True)]
        self.test = whole.subset(np.sort(np.concatenate(drawn)))


def rows_of(model: PatchModel, part: Part, energies: Energies | None, workers: int) -> Iterator[dict]:
    """A row for each number of normal images and each score or combination."""
    normal = readings_of(model, part.train, energies, workers)
    test = readings_of(model, part.test.dataset, energies, workers)
    known = OURS if energies else OURS[:-1]
    for count in (*SHOTS, len(part.train)):
        chosen: Any = Kept(model, torch.cat([normal[:count], test]))
        numbers = Numbers(np.arange(count), part.train)
        for scores in [(name,) for name in known] + [names for names in COMBINATIONS if set(names) <= set(known)]:
            if scores == ("image",):
                continue  # it has no map
            fitter = Fitter(chosen, FitSettings(PatchSettings(1), scores), 0, energies=chosen if energies else None)
            detector = fitter.fit(numbers, model.name, model.image_size[::-1]).detector
            yield {"k": count, "scores": "+".join(scores), **measured(detector, model, part, count)}


def measured(detector: Any, model: PatchModel, part: Part, before: int) -> dict:
    """AUROC of images and AUPRO, in per cent."""
    maps: list[Tensor] = []
    tested = Numbers(np.arange(before, before + len(part.test.dataset)), part.test.dataset)
    scores, *_ = score_images(detector, tested, 0, each=lambda _, map_: maps.append(map_))
    shown: Any = Shown(detector, model)
    pixels = region_histograms(shown, part.test, torch.stack(maps))
    assert pixels is not None
    found = {"AUROC": roc_auc_score(part.test.anomalous, scores[:, 0])}
    found["AUPRO"] = aupro(np.sum(pixels.normal, axis=0), np.sum(pixels.regions, axis=0))
    return {name: round(100 * float(value), 1) for name, value in found.items()}


class Shown:
    """A detector of kept readings with the size and frame of the model that they are of."""

    def __init__(self, detector: Any, model: PatchModel) -> None:
        self.names, self.calibration, self.grid_size = detector.names, detector.calibration, detector.grid_size
        self.image_size, self.frame = model.image_size, model.frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--train", type=int, default=250)
    parser.add_argument("--test", type=int, default=150)
    parser.add_argument("--runs", type=Path, default=Path(tempfile.mkdtemp()))
    parser.add_argument("--workers", type=int, default=0)
    given = parser.parse_args()
    rows = []
    for name in given.sets:
        source = given.folder / f"{name}_anomaly.zip"
        for seed in given.seeds:
            run = given.runs / f"{name}-{seed}"
            if not run.exists():
                how = {**SETS[name], "model": "vit_nano", "time": f"{given.minutes}m", "seed": seed}
                openjepa.pretrain(f"{source}/train/good", out=run, workers=given.workers, device="cpu", **how)
            encoder, part = openjepa.load_encoder(run), Part(source, given.train, given.test, seed)
            encoder.name = "trained"
            pixels: Any = PatchPixels(encoder.image_size, encoder.vit.patch_size, encoder.max_stretch)
            models: list[tuple[Any, Energies | None]] = [(encoder, open_energies(str(run))), (pixels, None)]
            models += [(untrained_like(encoder, seed), None), (RandomResNet(encoder, seed), None)]
            for model, energies in models:
                for row in rows_of(model, part, energies, given.workers):
                    rows.append({"set": name, "seed": seed, "model": model.name, **row})
                    print(*rows[-1].values(), sep=" · ", flush=True)
    record("anomaly", commit=commit(), minutes=given.minutes, rows=rows)


if __name__ == "__main__":
    main()
