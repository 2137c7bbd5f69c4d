"""One trial of a study: a short run on images that all trials share, measured at its end."""

import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from openjepa.data.dataset import UNLABELLED, ImageDataset
from openjepa.data.statistics import channel_statistics
from openjepa.data.summary import Summary
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.feature_cache import FeatureStore
from openjepa.encoder.features import Model, Progress
from openjepa.errors import UsageError
from openjepa.evaluation.probes.best_linear import ONE_PROBE
from openjepa.evaluation.run_tasks import measure
from openjepa.evaluation.session import Part, Session
from openjepa.evaluation.splits import check_labels, holdout_split
from openjepa.rng import SAMPLES, generator
from openjepa.runs.images import leave_out_small, prepare_images
from openjepa.runs.planning.build import draft
from openjepa.runs.settings import Config
from openjepa.runs.start import StartedRun, as_started
from openjepa.training.checkpoint import DamagedCheckpoint, checkpoint_steps
from openjepa.training.loop import Diverged
from openjepa.training.monitoring.metrics_log import read_metrics
from openjepa.training.monitoring_intervals import Intervals
from openjepa.training.step import Stepper

LABELLED, TESTED = 15_000, 1 / 3  # labelled images at most, and the fraction of them that is tested on
LEAST = 12  # labelled images, below which no probe is trained
TASKS = ("linear", "knn")
MONITORS = ("rank", "std", "positional_fraction", "energy_gap", "ema_distance", "alignment", "uniformity")


@dataclass(frozen=True)
class TrialData:
    """What all trials share.

    source     the images as the user named them
    dataset    the images to train on, with their summary and the mean and std of their channels
    labelled   the images to fit probes on, and those to test on
    workers    processes that read images
    seed       of the probes
    """

    source: str
    dataset: ImageDataset
    summary: Summary
    mean: list[float]
    std: list[float]
    labelled: tuple[ImageDataset, ImageDataset]
    workers: int
    seed: int

    def session(self, model: Model) -> Session:
        """A model on the labelled images; one linear probe is tried."""
        fit, test = (Part(dataset) for dataset in self.labelled)
        return Session(model, fit, test, FeatureStore(None, self.workers), self.seed, ("1%", "10%"), probes=ONE_PROBE)

    def accuracies(self, model: Model) -> dict[str, float]:
        """linear and knn: fractions, the mean over labels."""
        session = self.session(model)
        return {task: fmean(r.record()["value"] for r in measure(session, [task])) for task in TASKS}


def open_images(data: str, config: Config) -> tuple[ImageDataset, Summary]:
    """The images of a study, with what was found in them."""
    return prepare_images(
        data, config.readers, max_skipped=config.max_skipped, channels=config.channels, pages=config.pages
    )


def prepare_trials(
    source: str, images: tuple[ImageDataset, Summary], labelled: str | None, config: Config
) -> TrialData:
    """What trials on `images` share; they are measured on the images of `labelled`, or on those that they train on.

    Raises UsageError if these have no labels, or too few.
    """
    images = leave_out_small(*images, config.patch_size, config.max_skipped)
    mean, std = channel_statistics(images[0], seed=config.seed)
    parts = split_labelled(_labels(source, labelled, images[0], config), config.seed)
    return TrialData(source, *images, mean, std, parts, config.readers, config.seed)


def _labels(source: str, labelled: str | None, dataset: ImageDataset, config: Config) -> ImageDataset:
    """The images to measure on. Raises UsageError if they have no labels."""
    if not labelled:
        if not dataset.labels:
            raise UsageError(
                f"{source} has no labels, and trials are compared by accuracy: put some images, a few hundred are "
                "enough, in one folder a class and give them as --labelled"
            )
        return dataset
    found = config.readers, dataset.pixel_format, config.max_skipped
    labels, _ = prepare_images(labelled, found[0], pixel_format=found[1], max_skipped=found[2])
    check_labels(labels, labels)
    return labels


def split_labelled(dataset: ImageDataset, seed: int) -> tuple[ImageDataset, ImageDataset]:
    """Up to 10,000 images to fit probes on and 5,000 to test on, of the classes that have two or more."""
    label = next(iter(dataset.labels))
    rows = np.flatnonzero(dataset.labels[label] != UNLABELLED)
    sample = dataset.subset(rows[generator(seed, SAMPLES).permutation(len(rows))[:LABELLED]])
    classes, counts = np.unique(sample.labels[label], return_counts=True)
    sample = sample.subset(np.flatnonzero(np.isin(sample.labels[label], classes[counts > 1])))
    if len(sample) < LEAST or sum(counts > 1) < 2:
        raise UsageError(f"{dataset.source} holds too few labelled images: give a dozen or more, of two classes")
    parts = holdout_split(sample.labels[label], TESTED, seed, sample.classes[label])
    return sample.subset(parts[0]), sample.subset(parts[1])


def run_trial(
    folder: Path,
    data: TrialData,
    config: Config,
    steps: int,
    progress: Progress,
    measured: Callable[[Encoder], Mapping[str, Any]] | None = None,
    curve: bool = False,
) -> dict[str, Any]:
    """Train from the start, or from the last checkpoint of a trial that was stopped, and measure.

    With `curve` an online probe is logged on the way, at about eight points.

    Returns steps, images, seconds, `monitors` at the end, `untrained` (those at the start) and what was `measured` of
    the encoder, the accuracies unless told otherwise; for a run that diverged, `failed` instead of the last three.
    """
    begun = time.monotonic()
    started = _open(folder, data, config, steps, curve)
    record: dict[str, Any] = {"steps": steps, "images": steps * config.batch_size}
    try:
        started.run.train(lambda logged: progress(logged["step"], steps))
    except Diverged as error:
        return record | {"seconds": time.monotonic() - begun, "failed": str(error)}
    started.export("encoder", started.run.stepper.model, steps)
    first, last = ({name: logged[name] for name in MONITORS if name in logged} for logged in _ends(folder))
    encoder = as_encoder(started.run.stepper, data, config.max_stretch)
    found = {"monitors": last, "untrained": first, **(measured or data.accuracies)(encoder)}
    shutil.rmtree(started.run.checkpoints)  # those of all trials would fill the disk
    return record | {"seconds": time.monotonic() - begun} | found


def _ends(folder: Path) -> tuple[dict, dict]:
    logged = [record for record in read_metrics(folder) if "rank" in record]
    if not logged:
        raise UsageError(f"{folder / 'metrics.jsonl'} is damaged: delete {folder}, then continue with --resume")
    return logged[0], logged[-1]


def _open(folder: Path, data: TrialData, config: Config, steps: int, curve: bool) -> StartedRun:
    blueprint = draft(config, data.dataset, data.mean, data.std, probed=data.labelled[0])
    # The online probe has too few test images to choose by: accuracies are measured at the end.
    run = (blueprint if curve else dataclasses.replace(blueprint, probe=None)).run(folder, steps)
    run = dataclasses.replace(run, intervals=_at_eighths(run.intervals, steps))
    if checkpoint_steps(run.checkpoints):
        try:
            run.resume()
        except DamagedCheckpoint:
            shutil.rmtree(folder)
            return _open(folder, data, config, steps, curve)
    started = as_started(run, blueprint, data.source, data.summary)
    started.describe()
    return started


def _at_eighths(intervals: Intervals, steps: int) -> Intervals:
    """With probes at about every eighth of a run, at steps at which it is monitored too."""
    often = max(1, round(steps / 8 / intervals.monitor))
    return dataclasses.replace(intervals, probe=often * intervals.monitor)


def as_encoder(stepper: Stepper, data: TrialData, max_stretch: float) -> Encoder:
    how = stepper.device, stepper.precision, data.dataset.pixel_format, max_stretch
    return Encoder(stepper.model.encoder, stepper.mean, stepper.std, "trial", *how)
