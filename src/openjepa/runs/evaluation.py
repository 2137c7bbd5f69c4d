"""What `evaluate` does: open images with what is known of them, measure every model by every task, compare."""

import platform
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch

from openjepa._version import __version__
from openjepa.config import MAX_SKIPPED
from openjepa.console import counting, log
from openjepa.data.dataset import ImageDataset
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.feature_cache import FeatureStore
from openjepa.encoder.features import Model
from openjepa.errors import UsageError
from openjepa.evaluation.duplicates import Thumbnails, near_duplicates
from openjepa.evaluation.protocol import check_labels, split_held_out
from openjepa.evaluation.results import Result, over_seeds
from openjepa.evaluation.session import Bench, Part
from openjepa.evaluation.targets import open_targets
from openjepa.evaluation.tasks.quantity_tasks import remarks
from openjepa.evaluation.tasks.registry import LABELLED, TASKS, check_tasks, fetch
from openjepa.rng import SAMPLES, generator
from openjepa.runs.images import prepare_images
from openjepa.runs.measure_models import CONTEXT

Measured = dict[str, list[Result]]  # by the model's name
COMPARED = 50_000  # images of either part among which near duplicates are sought
PATCHES = (8, 4, 2, 1)


@dataclass(frozen=True)
class Files:
    """Where annotations, depth maps and masks of a set of images lie, if anywhere."""

    annotations: str | None = None
    depths: str | None = None
    masks: str | None = None

    def of(self, source: str, dataset: ImageDataset) -> Part:
        targets = open_targets(source, dataset, self.annotations, self.depths, self.masks)
        log(*targets.remarks)
        return Part(dataset, targets)

    def check_unused(self) -> None:
        """Raise UsageError if these, of --test, are given without it."""
        for kind, given in vars(self).items():
            if given:
                raise UsageError(
                    f"--test-{kind} {given} is of the images of --test, which is not given: name those with --test, or "
                    f"give --{kind}, of which a fifth is held out with its images"
                )


def open_parts(
    data: str,
    test: str | None,
    tasks: tuple[str, ...],
    shots: tuple[str, ...],
    seed: int,
    workers: int,
    files: Files,
    test_files: Files,
    pixel_format: PixelFormat | None = None,
    max_skipped: float = MAX_SKIPPED,
) -> tuple[Part, Part, str]:
    """Images to learn from, images to test on, and the name of the latter; read as the models do.

    Raises UsageError if a task needs classes or annotations and they are missing, too few, or of other images.
    """
    if not test:
        test_files.check_unused()
    train, _ = prepare_images(data, workers, pixel_format=pixel_format, max_skipped=max_skipped)
    held_out = (
        prepare_images(test, workers, pixel_format=train.pixel_format, max_skipped=max_skipped)[0] if test else train
    )
    if set(tasks) & set(LABELLED):
        check_labels(train, held_out)
    first = files.of(data, train)
    if test:
        parts, named = [first, test_files.of(test, held_out)], test
    else:
        parts = [Part(half, first.targets) for half in split_held_out(train, seed)]
        named = f"a held-out fifth of {data} (seed {seed})"
    check_tasks(tasks, shots, seed, *parts)
    log(*remarks(tasks, *parts))
    return *parts, named


def fetch_features(
    models: list[Model], train: Part, test: Part, tasks: tuple[str, ...], store: FeatureStore, **settings
) -> list[Bench]:
    """A Bench for each model, with the features that the tasks ask for; `settings` are those of a Bench."""
    benches = [Bench(model, train, test, store, patches=_patches(models), **settings) for model in models]
    for bench in benches:
        with counting(f"features of {bench.model.name}") as bench.progress:
            fetch(bench, tasks)
    for part in (train, test):
        store.get(Thumbnails(), part.dataset)
    return benches


def find_leaks(train: Part, test: Part, store: FeatureStore) -> dict:
    """How many test images have a near duplicate in the training part, and of how many; said if there are any."""
    thumbnails, places = [], []
    for part in (train, test):
        found, kept = store.get(Thumbnails(), part.dataset)
        some = np.sort(generator(0, SAMPLES).permutation(len(found))[:COMPARED])
        thumbnails.append(found[some])
        places.append(kept[some])
    leaks = [test.dataset.paths[places[1][row]] for row in near_duplicates(*thumbnails)]
    compared = {"train": len(places[0]), "test": len(places[1])}
    if leaks:
        named = f"{', '.join(leaks[:3])}{', ...' * (len(leaks) > 3)}"
        log(
            f"warning: {len(leaks):,} of {compared['test']:,} test images have a near duplicate among "
            f"{compared['train']:,} training images ({named}): the numbers below flatter"
        )
    if max(len(part.dataset) for part in (train, test)) > COMPARED:
        log(f"note: near duplicates were sought among {COMPARED:,} images of a part, at random, and not among all")
    return {"near_duplicates": len(leaks), "near_duplicates_sought_in": compared}


def measure_benches(benches: list[Bench], tasks: tuple[str, ...], runs: list[list[str]]) -> Measured:
    """Every model's results, by its name; and after them the means of `runs` of one recipe over their seeds."""
    measured: Measured = {}
    for bench in benches:
        results = []
        for task in tasks:
            with counting(f"{task} of {bench.model.name}") as bench.progress:
                results += TASKS[task](bench)
        about = bench.about()
        measured[bench.model.name] = [replace(found, protocol=found.protocol | about) for found in results]
    for names in ([name + which for name in names] for names in runs for which in ("", CONTEXT)):
        if measured.keys() >= set(names):
            seeds = zip(*(measured[name] for name in names), strict=True)
            measured[f"mean of {len(names)} seeds of {names[0]}"] = [over_seeds(results) for results in seeds]
    return measured


def _patches(models: list[Model]) -> tuple[tuple[int, int], int]:
    """Image and patch size of the first encoder; without one, of what raw pixels are cut into."""
    for model in models:
        if isinstance(model, Encoder):
            return model.image_size, model.network.patch_size
    size = models[0].image_size
    return size, next(p for p in PATCHES if not (size[0] % p or size[1] % p))


def make_records(measured: Measured, data: str, about: dict) -> list[dict]:
    """A record for each model and task; its protocol also holds the differences to other models, paired by image."""
    records = {}
    for name, results in measured.items():
        for result in results:
            record = {"model": name, "data": data} | result.record()
            record["protocol"] |= about | {"paired_difference_to": {}}
            records[name, result.task] = record
    for (name, results), (opponent, others) in combinations(measured.items(), 2):
        theirs = {result.task: result for result in others}
        for result in results:
            paired = result.versus(theirs[result.task]) if result.task in theirs else None
            if paired:
                value, low, high = paired
                records[name, result.task]["protocol"]["paired_difference_to"][opponent] = [value, low, high]
                records[opponent, result.task]["protocol"]["paired_difference_to"][name] = [-value, -high, -low]
    return list(records.values())


def protocol_of(train: Part, test: Part, named: str, data: str, store: FeatureStore, leaks: dict) -> dict:
    """What joins the protocol of every record: the images, by name and hash, and the versions."""
    split = f"{store.hash(train.dataset)[:12]}-{store.hash(test.dataset)[:12]}"
    versions = {"openjepa_version": __version__, "torch_version": torch.__version__, "numpy_version": np.__version__}
    about = {"train": data, "test": named, "split_hash": split}
    return about | leaks | versions | {"python_version": platform.python_version()}
