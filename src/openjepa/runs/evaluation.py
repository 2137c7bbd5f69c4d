"""From names to measured models: open models and images, measure every model by every task, compare."""

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from openjepa._version import __version__
from openjepa.config import MAX_SKIPPED
from openjepa.console import counting, log, working
from openjepa.data.crops import Frame
from openjepa.data.dataset import ImageDataset
from openjepa.data.open import DataSource, names_of
from openjepa.data.proportions import seen_lines
from openjepa.data.shard_folders import shard_lines
from openjepa.data.summary import counted
from openjepa.device import choose_device, choose_precision
from openjepa.encoder.baselines import has_first_weights, pixels_beside, untrained_like
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.feature_cache import FeatureStore
from openjepa.encoder.features import Model, frame_of
from openjepa.encoder.foreign import OURS, check_pooling
from openjepa.errors import UsageError, unknown
from openjepa.evaluation import run_tasks
from openjepa.evaluation.annotations.targets import open_targets
from openjepa.evaluation.judgement import CONSTANT
from openjepa.evaluation.near_duplicates import GreyThumbnails, larger_of, near_duplicates
from openjepa.evaluation.results import Result, over_seeds
from openjepa.evaluation.session import Part, Session
from openjepa.evaluation.splits import check_labels, label_remarks, shared_labels, split_held_out
from openjepa.evaluation.task import Need
from openjepa.evaluation.tasks.registry import TASKS
from openjepa.interop.ensembles.stored import is_ensemble
from openjepa.interop.foreign.source import ForeignSource
from openjepa.interop.loaded_weights import WHICH
from openjepa.interop.open_model import is_folder, open_model
from openjepa.ranks import on_rank_zero
from openjepa.rng import SAMPLES, generator
from openjepa.runs.checkpoints import label_at, open_foreign_at, open_own_at, open_source_at
from openjepa.runs.ensembles import ensemble_encoders
from openjepa.runs.images import check_skipped, prepare_images

Measured = dict[str, list[Result]]  # by the model's name
ENCODERS = ("target", "context", "both")
CONTEXT = " (context encoder)"
COMPARED = 50_000  # images of either part among which near duplicates are sought
NO_CLASSES = "The numbers below then say nothing: give one folder a class, or a list with a column of labels"
PATCHES = (8, 4, 2, 1)


def parse_tasks(text: str) -> tuple[str, ...]:
    """Task names from a comma-separated list; raises UsageError."""
    tasks = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in tasks:
        if name not in TASKS:
            raise UsageError(unknown("task", name, TASKS))
    if not tasks:
        raise UsageError(f"no task given: known are {', '.join(TASKS)}")
    return tasks


def open_models(
    names: Sequence[str],
    device: str,
    precision: str,
    encoder: str = "target",
    steps: Mapping[str, int] = {},
    pooling: str = "auto",
    network: nn.Module | None = None,
) -> list[Model]:
    """The named models after the two baselines, which have the first encoder's shape.

    Of a network of a program, given as `network` to open its runs, there are no first weights, so no second baseline.

    `encoder`: target, context, or both, for models that have both. `steps`: of which checkpoint a run is opened, by its
    name. `pooling` as of `load_encoder`. Raises UsageError.
    """
    if encoder not in ENCODERS:
        raise UsageError(unknown("--encoder", encoder, ENCODERS))
    where = choose_device(device)
    dtype = on_rank_zero(lambda: choose_precision(precision, where))  # timed, so processes could choose differently
    folders = {
        name: _encoders(name, steps.get(name), where, dtype, encoder, pooling, network)
        for name in names
        if is_folder(name)
    }
    frame = frame_of(next(iter(folders.values()))[0]) if folders else None
    models: list[Model] = []
    for name in names:
        models += folders.get(name) or [open_model(name, where, dtype, frame)]
    first = first_encoder(models)
    baselines: list[Model] = []
    if "pixels" not in names:
        pixels = pixels_beside(first.pixel_format, first.mean, first.std) if first else None
        baselines.append(pixels or open_model("pixels", where, dtype, frame))
    if first and not any(name.startswith("untrained:") for name in names):
        if has_first_weights(first):
            baselines.append(untrained_like(first))
        else:
            log(f"{first.name} is a {type(first.network).__name__}, of which none without training can be made")
    return baselines + models


def first_encoder(models: Iterable[Model]) -> Encoder | None:
    return next((model for model in models if isinstance(model, Encoder)), None)


def _encoders(
    name: str,
    step: int | None,
    where: torch.device,
    dtype: torch.dtype,
    encoder: str,
    pooling: str,
    network: nn.Module | None,
) -> list[Encoder]:
    """The encoders asked for, or the only one that a source holds; logs what the user needs to know of them.

    Of an ensemble these are its members and, last, itself.
    """
    if step is None and is_ensemble(Path(name)):
        check_pooling(pooling, OURS, name)
        return ensemble_encoders(name, where, dtype)
    if own := open_own_at(name, step, network, where, dtype, "context" if encoder == "context" else "target"):
        check_pooling(pooling, OURS, name)
        if encoder == "both":
            log(f"of {name} the target encoder alone is measured: give encoder context for the other")
        own.name = label_at(name, step) + (CONTEXT if encoder == "context" else "")
        return [own]
    if foreign := open_foreign_at(name, step):
        return _foreign_encoders(foreign, name, step, where, dtype, encoder, pooling)
    check_pooling(pooling, OURS, name)
    source, shown = open_source_at(name, step), label_at(name, step)
    asked = WHICH if encoder == "both" else (encoder,)
    held = dict.fromkeys(source.held(which) for which in asked)
    log(*source.remarks("target" if encoder == "both" else encoder))
    return [
        Encoder(
            source.encoder(which),
            source.mean,
            source.std,
            shown + CONTEXT if which == "context" and source.target else shown,
            where,
            dtype,
            source.pixel_format,
            source.max_stretch,
            source.licence,
        )
        for which in held
    ]


def _foreign_encoders(
    target: ForeignSource,
    name: str,
    step: int | None,
    where: torch.device,
    dtype: torch.dtype,
    encoder: str,
    pooling: str,
) -> list[Encoder]:
    """The encoders asked for of a network of another library; only a run that trained it further has two."""
    log(*target.remarks())
    found = [target] if encoder != "context" or not target.trained else []
    if target.trained and encoder != "target" and (context := open_foreign_at(name, step, "context")):
        log(*context.notes)
        found.append(replace(context, name=label_at(name, step) + CONTEXT))
    return [source.encoder(where, dtype, pooling) for source in found]


@dataclass(frozen=True)
class Files:
    """Where annotations, depth maps and masks of a set of images lie, if anywhere."""

    annotations: str | None = None
    depths: str | None = None
    masks: str | None = None
    kind: str | None = None  # of the objects that are counted; all where it is None

    def part(self, source: str, dataset: ImageDataset, frame: Frame | None = None) -> Part:
        """The images with their targets, as far as a frame shows them. UsageError where the files do not match."""
        targets = open_targets(source, dataset, self.annotations, self.depths, self.masks, frame, self.kind)
        log(*targets.remarks)
        return Part(dataset, targets)

    def check_unused(self) -> None:
        """Raise UsageError if these, of --test, are given without it."""
        for kind, given in vars(self).items():
            if given and kind != "kind":
                raise UsageError(
                    f"--test-{kind} {given} is of the images of --test, which is not given: name those with --test, or "
                    f"give --{kind}, of which a fifth is held out with its images"
                )


@dataclass(frozen=True)
class Images:
    """The images that the user named to learn from (`data`) and to test on (`test`; a fifth of `data` without)."""

    data: DataSource
    test: DataSource | None = None
    files: Files = Files()
    test_files: Files = Files()
    max_skipped: float = MAX_SKIPPED

    def sources(self) -> list[str]:
        """The images, as far as they were named."""
        return names_of(self.data, self.test)

    def targets(self) -> list[str]:
        """The annotations, depth maps and masks, as they were named."""
        return [name for files in (self.files, self.test_files) for name in vars(files).values() if name]

    def open(self, tasks: Iterable[str], seed: int, workers: int, model: Model) -> tuple[Part, Part, str]:
        """The training part, the test part and a name of the latter, as a model reads and sees them.

        Raises UsageError if a task needs classes and they are missing, too few, or of other images.
        """
        if self.test is None:
            self.test_files.check_unused()
        skipped, frame = self.max_skipped, frame_of(model)
        train, summary = prepare_images(self.data, workers, pixel_format=model.pixel_format, max_skipped=skipped)
        log(*seen_lines(summary.sizes, frame))
        held_out = train
        if self.test is not None:
            like = train.pixel_format
            held_out, tested = prepare_images(self.test, workers, pixel_format=like, max_skipped=skipped)
            log(*seen_lines(tested.sizes, frame))
        if any(Need.CLASSES in TASKS[name].needs for name in tasks):
            check_labels(train, held_out)
            log(*label_remarks(train, held_out), *shard_lines(summary.classes, NO_CLASSES))
        first = self.files.part(str(self.data), train, frame)
        if self.test is not None:
            return first, self.test_files.part(str(self.test), held_out, frame), str(self.test)
        fit, held = (Part(half, first.targets) for half in split_held_out(train, seed))
        return fit, held, f"a held-out fifth of {self.data} (seed {seed})"

    def check_readable(self, store: FeatureStore, *parts: Part) -> None:
        """Log which images could not be decoded. Raises UsageError if they are more than is allowed of any part."""
        for dataset in {id(part.dataset): part.dataset for part in parts}.values():
            left_out = store.left_out(dataset)
            check_skipped(dataset.source, left_out, len(dataset) - len(left_out), self.max_skipped)
            if left_out:
                named = "; ".join(f"{path}: {reason}" for path, reason in left_out[:3]) + "; ..." * (len(left_out) > 3)
                log(f"left out {counted(len(left_out), 'image')} of {dataset.source} that cannot be decoded ({named})")


def unmeasured(train: Part, test: Part) -> frozenset[str]:
    """The labels that probes are not trained on: those that only one of the parts has, or that are of one class."""
    return frozenset(train.dataset.labels) - frozenset(shared_labels(train.dataset, test.dataset))


def patches_of(models: Sequence[Model]) -> tuple[tuple[int, int], int, float]:
    """Image size, patch size and max_stretch of the first encoder; without one, of what raw pixels are cut into."""
    first = first_encoder(models)
    if first:
        return first.image_size, first.network.patch_size, first.frame.max_stretch
    size, max_stretch, *_ = frame_of(models[0])
    return size, next(p for p in PATCHES if not (size[0] % p or size[1] % p)), max_stretch


def fetch_features(sessions: Sequence[Session], tasks: Sequence[str]) -> None:
    """Compute what the tasks read, and the thumbnails of `find_leaks`. Several processes share the work.

    Logs remarks. Raises UsageError, before anything is computed, where a task cannot be done with these images.
    """
    first = sessions[0]
    log(*run_tasks.check(first, tasks))
    for session in sessions:
        _fetch(session, tasks)
    for part in (first.train, first.test):
        first.store.get(GreyThumbnails(), part.dataset)


def _fetch(session: Session, tasks: Sequence[str]) -> None:
    with counting(f"features of {session.model.name}") as progress:
        run_tasks.fetch(session, tasks, progress)


def find_leaks(train: Part, test: Part, store: FeatureStore) -> dict[str, Any]:
    """How many test images have a near duplicate in the training part, and of how many; logs a warning if any have."""
    thumbnails, places = [], []
    for part in (train, test):
        found, kept = store.get(GreyThumbnails(), part.dataset)
        some = np.sort(generator(0, SAMPLES).permutation(len(found))[:COMPARED])
        thumbnails.append(found[some])
        places.append(kept[some])
    larger = larger_of(train.dataset, places[0]), larger_of(test.dataset, places[1])
    with working("comparing the images of both parts"):
        alike = near_duplicates(thumbnails[0], thumbnails[1], larger)
    leaks = [test.dataset.paths[places[1][row]] for row in alike.found[:3]]
    count = len(alike.found)
    compared = {"train": len(places[0]), "test": len(places[1])}
    if leaks:
        named = f"{', '.join(leaks)}{', ...' * (count > 3)}"
        log(
            f"warning: {count:,} of {compared['test']:,} test images have a near duplicate among "
            f"{compared['train']:,} training images ({named}): the numbers below are too optimistic"
        )
    if max(len(part.dataset) for part in (train, test)) > COMPARED:
        log(f"note: near duplicates were sought among {COMPARED:,} images of a part, at random, and not among all")
    if alike.flat:
        log(f"note: {alike.flat:,} images are too flat to be compared, and were left out of the search for duplicates")
    if alike.one_view:
        log("note: most images show one view, as of a static camera: only those much closer than most are duplicates")
    return {
        "near_duplicates": count,
        "near_duplicates_sought_in": compared,
        "near_duplicates_too_flat": alike.flat,
        "near_duplicates_one_view": alike.one_view,
    }


def measure(sessions: Sequence[Session], tasks: Sequence[str], seeds: Sequence[Sequence[str]] = ()) -> Measured:
    """Every model's results, by its name, those of always giving the same answer first.

    Last come the means over `seeds`: names of runs that differ in their seed.
    """
    measured: Measured = {CONSTANT: []}
    constants: dict[str, Result] = {}
    for session in sessions:
        _fetch(session, tasks)
        with working(f"probing {session.model.name}"):
            results = run_tasks.measure(session, tasks)
        constants |= {result.task: result.constant for result in results if result.constant}
        about = session.about()
        measured[session.model.name] = [replace(found, protocol=found.protocol | about) for found in results]
    for names in ([name + which for name in runs] for runs in seeds for which in ("", CONTEXT)):
        if measured.keys() >= set(names):
            of_task = zip(*(measured[name] for name in names), strict=True)
            measured[f"mean of {len(names)} seeds of {names[0]}"] = [over_seeds(results) for results in of_task]
    return measured | {CONSTANT: list(constants.values())}


def make_records(measured: Measured, data: str, about: dict[str, Any]) -> list[dict]:
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
                turned = [0.0 - number for number in (value, high, low)]  # -0.0 would be printed with its sign
                records[opponent, result.task]["protocol"]["paired_difference_to"][name] = turned
    return list(records.values())


def about_data(train: str, test: str, session: Session, leaks: dict[str, Any]) -> dict[str, Any]:
    """What joins the protocol of every record: the images, by name and hash, and the versions."""
    hashes = [session.store.hash(part.dataset)[:12] for part in (session.train, session.test)]
    return {"train": train, "test": test, "split_hash": "-".join(hashes)} | leaks | versions()


def versions() -> dict[str, str]:
    libraries = {"torch_version": torch.__version__, "numpy_version": np.__version__}
    return {"openjepa_version": __version__, **libraries, "python_version": platform.python_version()}


def is_run(name: str) -> bool:
    return (Path(name) / "config.json").is_file() and (Path(name) / "encoder").is_dir()
