"""How well anomalies are found: image AUROC and AUPRO of an encoder of ten minutes, beside models without training.

    python benchmarks/anomaly.py FOLDER [--sets bsd pcb scenes] [--seeds 0 1 2] [--train 100] [--test 100] [--runs RUNS]

FOLDER holds bsd_anomaly.zip and pcb_anomaly.zip, and the folder scenes_anomaly that planted_scenes.py writes, all in
the layout of MVTec AD. For each set and seed an encoder is trained on normal images for `--steps` times the steps of
SETS, or taken from --runs, where it is kept as SET-SEED. Detectors are fitted on k = 1, 4, 16 and `--train` normal
images drawn by the seed and tested on at most `--test` normal and as many anomalous images. Beside the detector as
`openjepa anomaly fit` makes it stand its scores alone, of which memory is AnomalyDINO's rule and density is PaDiM's
with shrinkage, and the rule of PatchCore: features pooled over 3x3 patches, greedy coreset. `lit` is the AUROC where
the light of the normal test images was changed. Prints a row at a time and writes results/anomaly.json.
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
from openjepa.anomaly.calibration import combined
from openjepa.anomaly.detector import Detector
from openjepa.anomaly.energy import Energies
from openjepa.anomaly.evaluate import region_histograms
from openjepa.anomaly.fitting.fit import FitSettings, Fitter
from openjepa.anomaly.fitting.lighting import choose_lighting
from openjepa.anomaly.fitting.planted import relit
from openjepa.anomaly.labelled import label_images
from openjepa.anomaly.metrics import aupro
from openjepa.anomaly.patches import PatchModel, PatchSettings, most_layers
from openjepa.anomaly.scorer import Score, score_all
from openjepa.data.open import open_dataset
from openjepa.encoder.baselines import PatchPixels, untrained_like
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import compute_features
from openjepa.runs.detectors import open_energies

SETS: dict[str, dict[str, Any]] = {  # the steps of ten minutes on a core of an AMD EPYC of 2021
    "bsd": {"image_size": "104x256", "patch_size": 8, "steps": 540},
    "pcb": {"image_size": "256", "patch_size": 16, "steps": 270},
    "scenes": {"image_size": "128", "patch_size": 8, "steps": 540},
}
SOURCES = {"bsd": "bsd_anomaly.zip", "pcb": "pcb_anomaly.zip", "scenes": "scenes_anomaly"}
SHOTS = (1, 4, 16)
OURS = "memory", "density", "pixels"


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


class Part:
    """The images of a set: normal ones to fit on, and at most `most` of each class to test on."""

    def __init__(self, source: Path, normals: int, most: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        train = open_dataset(f"{source}/train/good")
        self.train = train.subset(rng.permutation(len(train))[:normals])
        whole = label_images(open_dataset(f"{source}/test"))
        drawn = [rng.permutation(np.flatnonzero(whole.anomalous == odd))[:most] for odd in (False, True)]
        self.test = whole.subset(np.sort(np.concatenate(drawn)))
        self.known: dict[tuple, Tensor] = {}

    def readings(self, detector: Detector, workers: int, lit: bool) -> Tensor:
        """What is read of the test images, as they are or with changed light; once for detectors that read alike."""
        reader = detector.reader
        key = reader.model.name, reader.features.settings, reader.pixels, reader.energies is None, lit
        if key not in self.known:
            read = (lambda images: reader(relit(images, 3))) if lit else reader
            self.known[key] = compute_features(reader.model, self.test.dataset, workers, 16, compute=read)[0]
        return self.known[key]


def rows_of(model: PatchModel, part: Part, energies: Energies | None, workers: int) -> Iterator[dict]:
    """A row for each number of normal images and each score, combination or rule."""
    layers = most_layers(model, 2)
    for count in (*SHOTS, len(part.train)):
        normals = part.train.subset(np.arange(count))
        ours = FitSettings(PatchSettings(layers), (*OURS, "energy") if energies else OURS)
        ours = choose_lighting(model, ours, normals, workers)
        detector = Fitter(model, ours, workers, energies=energies).fit(normals, model.name, (1, 1)).detector
        for name, scores in named_scores(detector, part, workers).items():
            yield {"k": count, "scores": name, **scores}
        pooled = FitSettings(PatchSettings(layers, pool=3), ("memory",))
        detector = Fitter(model, pooled, workers).fit(normals, model.name, (1, 1)).detector
        yield {"k": count, "scores": "PatchCore", **named_scores(detector, part, workers)["memory"]}


def named_scores(detector: Detector, part: Part, workers: int) -> dict[str, dict[str, float]]:
    """AUROC, AUPRO and AUROC under changed light of every score alone, of the defaults, and of all."""
    normal = torch.from_numpy(~part.test.anomalous)
    as_they_are, under_light = (part.readings(detector, workers, lit) for lit in (False, True))
    lit_normals = torch.where(normal[:, None, None], under_light, as_they_are)
    plain, lit = (score_all(detector.parts, detector.reader.split(each)) for each in (as_they_are, lit_normals))
    groups = {name: (name,) for name in detector.parts}
    groups |= {"+".join(names): names for names in (OURS, (*OURS, "energy")) if {*names} <= {*detector.parts}}
    return {
        name: measured(detector, part, combine(detector, plain, names), combine(detector, lit, names))
        for name, names in groups.items()
    }


def combine(detector: Detector, scores: dict[str, Score], names: tuple[str, ...]) -> Score:
    """The combination of some scores, as a detector of these alone would weigh them."""
    weights = detector.calibration.weights
    return combined({name: scores[name] for name in names}, detector.calibration.spreads, weights)


def measured(detector: Detector, part: Part, plain: Score, lit: Score) -> dict[str, float]:
    assert plain.maps is not None
    pixels = region_histograms(detector, part.test, plain.maps)
    assert pixels is not None
    found = {"AUROC": roc_auc_score(part.test.anomalous, plain.images)}
    found["AUPRO"] = aupro(np.sum(pixels.normal, axis=0), np.sum(pixels.regions, axis=0))
    found["lit"] = roc_auc_score(part.test.anomalous, lit.images)
    return {name: round(100 * float(value), 1) for name, value in found.items()}


def encoder_of(name: str, seed: int, given: argparse.Namespace) -> Path:
    """The folder of the run of a set and a seed, trained where it is not there."""
    run = given.runs / f"{name}-{seed}"
    if not run.exists():
        how = SETS[name] | {"model": "vit_nano", "seed": seed}
        how["steps"] = max(1, round(how["steps"] * given.steps))
        source = f"{given.folder / SOURCES[name]}/train/good"
        openjepa.pretrain(source, out=run, workers=given.workers, device="cpu", **how)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=float, default=1.0, help="times the steps of ten minutes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--train", type=int, default=100)
    parser.add_argument("--test", type=int, default=100)
    parser.add_argument("--runs", type=Path, default=Path(tempfile.mkdtemp()))
    parser.add_argument("--no-energy", action="store_true", help="leave out energy, which takes most of the time")
    parser.add_argument("--only-trained", action="store_true", help="leave out the models without training")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--out", default="anomaly", help="name of the file in results/")
    given = parser.parse_args()
    rows = []
    for name in given.sets:
        for seed in given.seeds:
            run = encoder_of(name, seed, given)
            encoder, part = (
                openjepa.load_encoder(run),
                Part(given.folder / SOURCES[name], given.train, given.test, seed),
            )
            encoder.name = "trained"
            energies = None if given.no_energy else open_energies(str(run))
            models: list[tuple[PatchModel, Energies | None]] = [(encoder, energies)]
            if not given.only_trained:
                pixels: Any = PatchPixels(encoder.image_size, encoder.vit.patch_size, encoder.max_stretch)
                pixels.pixel_format = encoder.pixel_format
                models += [(pixels, None), (untrained_like(encoder, seed), None), (RandomResNet(encoder, seed), None)]
            for model, energies in models:
                for row in rows_of(model, part, energies, given.workers):
                    rows.append({"set": name, "seed": seed, "model": model.name, **row})
                    print(*rows[-1].values(), sep=" · ", flush=True)
    record(given.out, commit=commit(), steps=given.steps, rows=rows)


if __name__ == "__main__":
    main()
