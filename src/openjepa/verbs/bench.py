"""What `evaluate` does: open images with what is known of them, measure every model by every task, compare."""

import platform
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from openjepa._version import __version__
from openjepa.core.streams import SAMPLES, generator
from openjepa.data.dataset import ImageDataset
from openjepa.data.reading import Reading
from openjepa.data.targets import open_targets
from openjepa.errors import UsageError
from openjepa.evaluation.bench import Bench, Part
from openjepa.evaluation.encoder import Encoder
from openjepa.evaluation.features import Model
from openjepa.evaluation.leaks import Thumbnails, near_duplicates
from openjepa.evaluation.protocol import check_labels, split_held_out
from openjepa.evaluation.results import Result, is_fraction
from openjepa.evaluation.store import FeatureStore
from openjepa.evaluation.tasks import LABELLED, TASKS
from openjepa.evaluation.variants import Features, best_linear
from openjepa.interop.classifier import save_classifier
from openjepa.verbs.options import MAX_SKIPPED
from openjepa.verbs.prepare import prepare_images
from openjepa.verbs.talk import counting, say

COMPARED = 50_000  # images of either part among which near duplicates are sought
PATCHES = (8, 4, 2, 1)


@dataclass(frozen=True)
class Files:
    """Where annotations, depth maps and masks of a set of images lie, if anywhere."""

    annotations: str | None = None
    depths: str | None = None
    masks: str | None = None

    def of(self, source: str, dataset: ImageDataset) -> Part:
        return Part(dataset, open_targets(source, dataset, self.annotations, self.depths, self.masks))


def open_parts(
    data: str,
    test: str | None,
    tasks: tuple[str, ...],
    seed: int,
    workers: int,
    files: Files,
    test_files: Files,
    reading: Reading | None = None,
    max_skipped: float = MAX_SKIPPED,
) -> tuple[Part, Part, str]:
    """Images to learn from, images to test on, and the name of the latter; read as the models do.

    Raises UsageError if a task needs classes and they are missing, or annotations do not match the images.
    """
    train, _ = prepare_images(data, workers, reading=reading, max_skipped=max_skipped)
    held_out = prepare_images(test, workers, reading=train.reading, max_skipped=max_skipped)[0] if test else train
    if set(tasks) & set(LABELLED):
        check_labels(train, held_out)
    first = files.of(data, train)
    if test:
        return first, test_files.of(test, held_out), test
    parts = (Part(half, first.targets) for half in split_held_out(train, seed))
    return *parts, f"a held-out fifth of {data} (seed {seed})"


def find_leaks(train: Part, test: Part, store: FeatureStore) -> int:
    """How many test images have a near duplicate in the training part; said to the person if there are any."""
    thumbnails, places = [], []
    for part in (train, test):
        found, kept = store.get(Thumbnails(), part.dataset)
        some = np.sort(generator(0, SAMPLES).permutation(len(found))[:COMPARED])
        thumbnails.append(found[some])
        places.append(kept[some])
    leaks = [test.dataset.paths[places[1][row]] for row in near_duplicates(*thumbnails)]
    if leaks:
        say(
            f"warning: {len(leaks):,} of {len(thumbnails[1]):,} test images have a near duplicate among the training "
            f"images ({', '.join(leaks[:3])}{', ...' * (len(leaks) > 3)}): the numbers below flatter"
        )
    return len(leaks)


def measure_parts(
    models: list[Model], train: Part, test: Part, tasks: tuple[str, ...], store: FeatureStore, **settings
) -> list[tuple[Bench, list[Result]]]:
    """Every model's results; `settings` are those of a Bench."""
    patches, measured = _patches(models), []
    for model in models:
        bench = Bench(model, train, test, store, patches=patches, **settings)
        results = []
        for task in tasks:
            with counting(f"{task} of {model.name}") as bench.progress:
                results += TASKS[task](bench)
        measured.append((bench, results))
    return measured


def _patches(models: list[Model]) -> tuple[tuple[int, int], int]:
    """Image and patch size of the first encoder; without one, of what raw pixels are cut into."""
    for model in models:
        if isinstance(model, Encoder):
            return model.image_size, model.network.patch_size
    size = models[0].image_size
    return size, next(p for p in PATCHES if not (size[0] % p or size[1] % p))


def make_records(measured: list[tuple[Bench, list[Result]]], data: str, about: dict) -> list[dict]:
    """A record for each model and task; its protocol also holds the differences to other models, paired by image."""
    records = {}
    for bench, results in measured:
        for result in results:
            record = {"model": bench.model.name, "data": data} | result.record()
            record["protocol"] |= about | {"paired_difference_to": {}}
            records[bench.model.name, result.task] = record
    for (bench, results), (other, others) in combinations(measured, 2):
        theirs = {result.task: result for result in others}
        for result in results:
            paired = result.versus(theirs[result.task]) if result.task in theirs else None
            if paired:
                value, low, high = paired
                name, task, opponent = bench.model.name, result.task, other.model.name
                records[name, task]["protocol"]["paired_difference_to"][opponent] = [value, low, high]
                records[opponent, task]["protocol"]["paired_difference_to"][name] = [-value, -high, -low]
    return list(records.values())


def protocol_of(train: Part, test: Part, named: str, data: str, store: FeatureStore, leaks: int) -> dict:
    """What joins the protocol of every record: the images, by name and hash, and the versions."""
    split = f"{store.hash(train.dataset)[:12]}-{store.hash(test.dataset)[:12]}"
    versions = {"openjepa_version": __version__, "torch_version": torch.__version__, "numpy_version": np.__version__}
    about = {"train": data, "test": named, "split_hash": split, "near_duplicates": leaks}
    return about | versions | {"python_version": platform.python_version()}


def check_head(models: list[Model]) -> None:
    """Raise UsageError unless one of the models can carry a head."""
    if not any(isinstance(model, Encoder) for model in models):
        raise UsageError("--save-head needs an encoder: name a run or an artifact")


def keep_head(folder: Path, measured: list[tuple[Bench, list[Result]]]) -> None:
    """Write the linear probe of the last model on its last layer, for the first label, as a classifier."""
    bench = [bench for bench, _ in measured if isinstance(bench.model, Encoder)][-1]
    label, labels, truth = next(bench.labels())
    train, test = (Features(bench.features(part)[0].last) for part in (bench.train, bench.test))
    choice = best_linear(train, labels, test, bench.seed, bench.device)
    accuracy = float((choice.probe.predictions == truth).double().mean())
    names = [bench.train.dataset.classes[label][number] for number in choice.probe.classes]
    about = {"encoder_of": bench.model.name, "label": label, "test_accuracy": accuracy, **choice.protocol()}
    save_classifier(folder, bench.model, choice.probe.weight, choice.probe.bias, names, about)
    say(f"head of {bench.model.name} ({label}, {accuracy:.1%} on the test images): {folder}")


def verdict(records: list[dict], one: str, other: str) -> str:
    """In words, in which tasks one of two models is better than the other by their paired differences."""
    found: dict[str, list[str]] = {"better": [], "worse": [], "not told apart": []}
    for record in (record for record in records if record["model"] == one):
        paired = record["protocol"]["paired_difference_to"].get(other)
        if paired:
            sign = -1 if not is_fraction(record) else 1
            low, high = sorted((sign * paired[1], sign * paired[2]))
            found["better" if low > 0 else "worse" if high < 0 else "not told apart"].append(record["task"])
    parts = [f"{where} in {', '.join(tasks)}" for where, tasks in found.items() if tasks]
    return f"{one} beside {other}: " + ("; ".join(parts) or "no task in common")
