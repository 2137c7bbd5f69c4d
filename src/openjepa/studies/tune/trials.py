"""One trial of `tune`: an ordinary run, short, on images that all trials share, and measured when it is done."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from openjepa.config import Config
from openjepa.data.dataset import ImageDataset
from openjepa.data.statistics import channel_statistics
from openjepa.data.summary import Summary
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.feature_cache import FeatureStore
from openjepa.encoder.features import Model
from openjepa.evaluation.pipeline import measure
from openjepa.evaluation.probes.best_linear import ONE_PROBE
from openjepa.evaluation.session import Part, Session
from openjepa.evaluation.splits import holdout_split
from openjepa.rng import SAMPLES, generator
from openjepa.runs.build_training import build_batches, build_stepper
from openjepa.runs.start import Launch, assemble
from openjepa.studies.tune.label_free_score import label_free_score
from openjepa.training.checkpoint import DamagedCheckpoint, checkpoint_steps
from openjepa.training.loop import Diverged
from openjepa.training.monitoring.metrics_log import read_metrics
from openjepa.training.monitoring.monitors import Monitor
from openjepa.training.step import Stepper

LABELLED, ASKED = 15_000, 1 / 3  # images at most, and the share of them that is held out
TASKS = ("linear", "knn")
LEAST = 12  # labelled images, below which there is nothing to learn from and ask
MONITORS = ("rank", "std", "positional_fraction", "energy_gap", "ema_distance")


@dataclass(frozen=True)
class Ground:
    """What all trials share: the images, and where there are labels those to fit a probe on and those to ask."""

    data: str
    dataset: ImageDataset
    summary: Summary
    mean: list[float]
    std: list[float]
    labelled: tuple[ImageDataset, ImageDataset] | None
    workers: int
    seed: int

    def accuracies(self, model: Model) -> dict[str, float]:
        """linear and knn: fractions, the mean over labels; {} without labels."""
        if not self.labelled:
            return {}
        store = FeatureStore(None, self.workers)
        session = Session(model, *map(Part, self.labelled), store, self.seed, probes=ONE_PROBE)
        return {task: fmean(result.rows[:, 0].mean() for result in measure(session, [task])) for task in TASKS}


def make_ground(data: str, dataset: ImageDataset, summary: Summary, labels: ImageDataset, config: Config) -> Ground:
    """`labels` are the images to measure on: `dataset` itself, or others."""
    mean, std = channel_statistics(dataset, seed=config.seed)
    return Ground(data, dataset, summary, mean, std, _split(labels, config.seed), config.workers, config.seed)


def _split(dataset: ImageDataset, seed: int) -> tuple[ImageDataset, ImageDataset] | None:
    """Up to 10,000 images to fit on and 5,000 to ask, of the classes of which there are two or more; None for none."""
    if not dataset.labels:
        return None
    label = next(iter(dataset.labels))
    sample = dataset.subset(generator(seed, SAMPLES).permutation(len(dataset))[:LABELLED])
    classes, counts = np.unique(sample.labels[label], return_counts=True)
    sample = sample.subset(np.flatnonzero(np.isin(sample.labels[label], classes[counts > 1])))
    if len(sample) < LEAST or sum(counts > 1) < 2:
        return None
    parts = holdout_split(sample.labels[label], ASKED, seed, sample.classes[label])
    return sample.subset(parts[0]), sample.subset(parts[1])


def run_trial(folder: Path, ground: Ground, config: Config, steps: int, progress: Callable[[int, int], None]) -> dict:
    """Train from the start, or from the last checkpoint of a trial that was stopped, and measure.

    Returns steps, images, seconds, the monitors at the end, `untrained` (those at the start), the label-free score and
    the accuracies; for a run whose loss is no number any more, `failed` instead of the last three.
    """
    begun = time.monotonic()
    launch = _open(folder, ground, config, steps)
    record = {"steps": steps, "images": steps * config.batch_size}
    try:
        launch.run.train(lambda logged: progress(logged["step"], steps))
    except Diverged as error:
        return record | {"seconds": time.monotonic() - begun, "failed": str(error)}
    launch.export("encoder", launch.run.stepper.model, steps)
    first, last = ({name: logged[name] for name in MONITORS} for logged in _ends(folder))
    measured = {"monitors": last, "untrained": first, "score": label_free_score(last, first)}
    measured |= ground.accuracies(as_encoder(launch.run.stepper, ground))
    shutil.rmtree(launch.run.checkpoints)  # of tens of trials they would fill the disk
    return record | {"seconds": time.monotonic() - begun} | measured


def _ends(folder: Path) -> tuple[dict, dict]:
    logged = [record for record in read_metrics(folder) if "rank" in record]
    return logged[0], logged[-1]


def _open(folder: Path, ground: Ground, config: Config, steps: int) -> Launch:
    stepper = build_stepper(config, steps, ground.mean, ground.std)
    launch = assemble(folder, stepper, build_batches(ground.dataset, config), config, ground.data, ground.summary)
    launch.run.probe = None  # it asks too few images to choose by: accuracies are measured in the end
    if checkpoint_steps(launch.run.checkpoints):
        try:
            launch.run.resume()
        except DamagedCheckpoint:
            shutil.rmtree(folder)
            return _open(folder, ground, config, steps)
    launch.describe(steps)
    return launch


def as_encoder(stepper: Stepper, ground: Ground) -> Encoder:
    network, how = stepper.model.target_encoder, (stepper.device, stepper.precision, ground.dataset.pixel_format)
    return Encoder(network, stepper.mean, stepper.std, "trial", *how)


def monitor_of(ground: Ground, config: Config, stepper: Stepper) -> Monitor:
    """The monitor that a trial has."""
    return assemble(
        Path(), stepper, build_batches(ground.dataset, config), config, ground.data, ground.summary
    ).run.monitor
