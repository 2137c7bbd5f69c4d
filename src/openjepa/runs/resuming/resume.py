"""Resume a run: from its newest sound checkpoint, as it was planned, over another length, or on images that changed."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from openjepa._version import __version__
from openjepa.config import LENGTH, MACHINE, Config, normal, seconds
from openjepa.console import log
from openjepa.data.dataset import ImageDataset, fingerprint
from openjepa.data.open import DataSource
from openjepa.data.summary import Summary, counted
from openjepa.errors import UsageError, option, shown
from openjepa.files import usage_error
from openjepa.files.temporary import remove_leftovers
from openjepa.recipe_settings import recipe as recipe_settings
from openjepa.runs.checkpoints import CHECKPOINTS, file_at
from openjepa.runs.command_line import typed_command
from openjepa.runs.folder import EVALUATION, encoder_step, training_seconds
from openjepa.runs.images import LISTED, leave_out_small, prepare_images
from openjepa.runs.planning.build import draft, settle_compiler
from openjepa.runs.planning.build_model import Networks
from openjepa.runs.planning.foreign_weights import open_foreign_init, stored_foreign
from openjepa.runs.planning.initial_weights import continued_networks, open_init, shapes_of, stored_networks
from openjepa.runs.planning.memory import check_memory
from openjepa.runs.planning.own_classes import OwnModel, check_same_model
from openjepa.runs.planning.plan import steps_within
from openjepa.runs.planning.teacher import same_teacher, taught
from openjepa.runs.probe_images import check_same_probe, check_same_probe_images, open_probe
from openjepa.runs.resuming.image_names import compare_names, names_file, remove_other_names, write_names
from openjepa.runs.settings import (
    CONFIG,
    MOST_SEGMENTS,
    ImageChange,
    Segment,
    StoredNetworks,
    StoredRun,
    read_config,
    save_config,
)
from openjepa.runs.start import StartedRun, as_started, check_ranks, check_same_command, check_same_images
from openjepa.safety.schema import MAX_TEXT
from openjepa.training.checkpoint import DamagedCheckpoint, State, checkpoint_steps
from openjepa.training.distributed import on_rank_zero
from openjepa.training.loop import read_newest
from openjepa.training.monitoring.metrics_log import read_metrics
from openjepa.training.step import Schedule
from openjepa.training.timing import Cost

CHANGED = "give --data-changed to go on with the images as they are now, or --out another name to start again"


def resume_run(
    data: DataSource,
    out: Path,
    config: Config,
    given: dict[str, Any],
    parallel: str = "auto",
    recipe: str | None = None,
    data_changed: bool = False,
    probe: DataSource | None = None,
    model: OwnModel | None = None,
) -> StartedRun:
    """The run in `out` from its newest sound checkpoint, over another length where one is `given`.

    With `data_changed` the images may be others than before. `probe` are the images of the online probe that the run
    was started with. Raises UsageError if it is another run, there is none, or it has taken more steps than it is to
    have.
    """
    check_same_command({**given, "data_changed": data_changed}, parallel, recipe)
    stored, resolved = on_rank_zero(lambda: stored_run(out))
    check_same_model(model, resolved.own_model, resolved.foreign is not None)
    on_rank_zero(lambda: remove_leftovers(out))
    config = settle_compiler(_with_machine_settings(out, stored, config, given))
    check_recipe(out, stored, resolved.recipe, recipe)
    check_same_probe(out, resolved.probe, probe)
    check_ranks(config)
    check_memory(config, len(resolved.mean), resolved.networks.model_dump() if resolved.networks else None)
    about = config.readers, str(out / LISTED), resolved.read_as, config.max_skipped
    dataset, summary = prepare_images(data, *about, patch_size=config.patch_size, labels=config.labels)
    dataset, summary = leave_out_small(dataset, summary, config.patch_size, config.max_skipped)
    dataset = _without_lost(dataset, summary, resolved)
    check_same_images(dataset)
    probed = open_probe(probe, config, dataset.pixel_format)
    check_same_probe_images(out, resolved.probe, probed)
    tensors: dict[str, Tensor] = {}
    state = on_rank_zero(lambda: _newest_state(out, tensors))
    done = state.step if state else 0
    images = on_rank_zero(lambda: _image_change(data, dataset, out, resolved, done, data_changed))
    length = _new_length(stored, given)
    config = dataclasses.replace(config, **length)
    networks = _networks(out, config, resolved, given, model, begun=state is not None)
    how = parallel, resolved.monitored, probed
    blueprint = draft(config, dataset, resolved.mean, resolved.std, networks, *how)
    cost = blueprint.cost() if length and config.time else None
    steps = on_rank_zero(lambda: _steps(config, out, len(dataset), done, cost) if length else resolved.steps)
    segments = on_rank_zero(lambda: _segments(resolved, done, steps, images))
    run = blueprint.run(out, steps, segments, cost.workers if cost else None)
    if state:
        with _usable():
            run.restore(tensors, state)
    if segments != resolved.segments:
        log(*_in_words(segments[-1], run.stepper.schedule) if segments else [])
        kept = _Changes(
            dataclasses.replace(stored, **length), segments, steps, (data, dataset, summary) if images else None
        )
        on_rank_zero(lambda: _record(out, resolved, kept))
    on_rank_zero(lambda: _keep_names(out, dataset))
    log(f"resuming after step {done:,} of {steps:,}" if state else "no checkpoint yet: starting from step 0")
    source = resolved.source.model_dump() if resolved.source else None
    return as_started(run, blueprint, data, summary, source)


def _networks(
    out: Path, config: Config, stored: StoredRun, given: Mapping[str, Any], model: OwnModel | None, begun: bool
) -> Networks | None:
    """The networks of a run, as they are before a checkpoint is loaded, or before the first step where it has none.

    None for those that the settings alone describe. Raises UsageError.
    """
    if stored.teacher:
        return taught(config, same_teacher(config, stored.teacher), stored.mean, stored.std, stored.read_as)
    if model and not (begun and stored.foreign):
        return model.networks(config)
    if not begun and (stored.networks or stored.foreign):
        return _first_networks(out, config, stored, given)
    return stored_foreign(config, stored) or stored_networks(config, stored)


def _first_networks(out: Path, config: Config, stored: StoredRun, given: Mapping[str, Any]) -> Networks:
    """The networks before the first step of a run that has no checkpoint yet, from the weights that --init names again.

    Raises UsageError without it, because a name that config.json states is not opened, and where other networks are
    there now.
    """
    if given.get("init") is None:
        again = f"--init {config.init}" if config.init else "model=..."
        raise UsageError(f"{out} has no checkpoint yet: give {again} again, to start from it, or --out another name")
    size = {"image_size": config.image_size}
    _, foreign = open_foreign_init(config, size)
    if foreign:
        networks = foreign.networks(config)
        same = stored.foreign is not None and networks.about["foreign"] == stored.foreign.model_dump()
    else:
        source = open_init(config, size)[1]
        networks = continued_networks(config, source)
        same = StoredNetworks.model_validate(shapes_of(config, source)) == stored.networks
    if not same:
        raise UsageError(f"{config.init} holds other networks than {out} was started with: give --out another name")
    return networks


def _without_lost(dataset: ImageDataset, summary: Summary, stored: StoredRun) -> ImageDataset:
    """The images of a run that an older version started, which left out those that it could not decode at its start."""
    lost = {path for path, _ in summary.skipped}
    if fingerprint(dataset) == stored.paths or not lost:
        return dataset
    kept = dataset.subset([index for index, path in enumerate(dataset.paths) if path not in lost])
    return kept if fingerprint(kept) == stored.paths else dataset


@contextlib.contextmanager
def _usable() -> Iterator[None]:
    """Turn what is wrong with the checkpoints into UsageError."""
    try:
        yield
    except DamagedCheckpoint as error:
        raise UsageError(f"{error}: give --out another name to start again") from error


def _newest_state(out: Path, tensors: dict[str, Tensor]) -> State | None:
    """The state of the newest sound checkpoint, whose tensors are put into `tensors`; None where there is none yet."""
    checkpoints = out / CHECKPOINTS
    if not checkpoint_steps(checkpoints):
        return None
    with _usable():
        state, complaints = read_newest(checkpoints, tensors)
    log(*complaints)
    return state


def _image_change(
    data: DataSource, dataset: ImageDataset, out: Path, stored: StoredRun, done: int, allowed: bool
) -> ImageChange | None:
    """How the images differ from those of the run at step `done`; UsageError where they do and may not."""
    later = next((s for s in stored.segments if s.images and s.from_step > done), None)
    if later and not allowed:
        raise UsageError(
            f"the images of {out} changed after step {later.from_step:,}, and the newest sound checkpoint is of step "
            f"{done:,}: {CHANGED}"
        )
    before = later.images if later else None
    paths, count = (before.paths_before, before.before) if before else (stored.paths, stored.found.images)
    if fingerprint(dataset) == paths:
        return None
    found = compare_names(out, paths, dataset)
    if not allowed:
        differ = f" ({found.new:,} new and {found.gone:,} gone by name)" if found else ""
        others = f"{len(dataset):,} images, the run in {out} had {count:,}"
        others = others if len(dataset) != count else f"other images than the run in {out} had"
        raise UsageError(f"{data} holds {others}{differ}: {CHANGED}")
    new, gone = found or (None, None)
    return ImageChange(
        paths_before=paths, before=count, after=len(dataset), new=new, gone=gone, data=str(data)[:MAX_TEXT]
    )


def _new_length(stored: Config, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the length, where one is given that is not the stored one; else {}."""
    asked = {name: normal(name, given[name]) for name in LENGTH if given.get(name) is not None}
    same = all(value == getattr(stored, name) for name, value in asked.items())
    return {} if same else dict.fromkeys(LENGTH) | asked


def _steps(config: Config, out: Path, images: int, done: int, cost: Cost | None) -> int:
    """The length in steps that a run at step `done` is given anew. Raises UsageError if it has taken more."""
    asked = {f"--steps {config.steps}": config.steps} if config.steps else {}
    if config.epochs:
        asked[f"--epochs {config.epochs:g}"] = max(1, round(config.epochs * images / config.batch_size))
    if config.time and cost:
        records = [record for record in read_metrics(out) if record["step"] <= done]
        left = seconds(config.time) - training_seconds(records, config.batch_size)
        asked[f"--time {config.time}"] = done + steps_within(left, config.batch_size, cost) if left > 0 else done - 1
    words, steps = min(asked.items(), key=lambda item: item[1])
    if steps < done:
        raise UsageError(f"{out} has taken {done:,} steps, and {words} is less: give more, or leave it out")
    return steps


def _segments(stored: StoredRun, done: int, steps: int, images: ImageChange | None) -> list[Segment]:
    """The segments of the run with a new one where something changes at step `done`, which replaces later ones."""
    kept = [segment for segment in stored.segments if segment.from_step <= done]
    lost_images = any(segment.images for segment in stored.segments[len(kept) :])
    if steps == stored.steps and not images and not lost_images:
        return stored.segments
    first = stored.segments[0].steps_before if stored.segments else stored.steps
    before = kept[-1].steps if kept else first
    if steps == before and not images:
        return kept
    if images and done == steps:
        raise UsageError(f"the run has taken all its {steps:,} steps: give more --steps to train on {images.data}")
    if len(kept) >= MOST_SEGMENTS:
        raise UsageError(f"the run was changed {len(kept)} times, which is the most: start another with --init")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    about: dict[str, Any] = {"when": now, "command": typed_command(), "openjepa_version": __version__}
    return [*kept, Segment(from_step=done, steps_before=before, steps=steps, images=images, **about)]


def _in_words(segment: Segment, schedule: Schedule) -> list[str]:
    """What changes from here on, a line for the images and one for the length."""
    lines, start = [], segment.from_step
    if images := segment.images:
        differ = "" if images.new is None else f", {images.new:,} new and {images.gone:,} gone by name"
        counts = f"{images.before:,} before, {images.after:,} now{differ}"
        lines.append(f"images changed at step {start:,}: {counts}; mean and std stay")
    if segment.steps != segment.steps_before:
        word = "extended" if segment.steps > segment.steps_before else "shortened"
        line = f"{word} from {segment.steps_before:,} to {segment.steps:,} steps at step {start:,}"
        if start and start < segment.steps:
            reached = min(start + schedule.rise, segment.steps) - 1
            lr = [schedule.at(step)["lr"] for step in (start - 1, reached, segment.steps - 1)]
            line += (
                f": within {counted(schedule.rise, 'step')} the learning rate goes from {lr[0]:.2g} to the "
                f"{lr[1]:.2g} of a run planned so, and then to {lr[2]:.2g}; weight decay and EMA momentum likewise"
            )
        lines.append(line)
    return lines


def _keep_names(out: Path, dataset: ImageDataset) -> None:
    """Store the names of the images of a run that an earlier version started."""
    if not names_file(out, fingerprint(dataset)).exists():
        write_names(out, dataset)


class _Changes(NamedTuple):
    """What of config.json changes; `images` are the name, the images and their summary where they changed."""

    config: Config
    segments: list[Segment]
    steps: int
    images: tuple[DataSource, ImageDataset, Summary] | None


def _record(out: Path, stored: StoredRun, changes: _Changes) -> None:
    """Write config.json anew; results of the encoder so far are kept under the name of its step."""
    content = stored.model_dump(exclude={"settings", "schema_version"})
    content |= {"segments": [segment.model_dump() for segment in changes.segments], "steps": changes.steps}
    content["openjepa_version"] = __version__
    if changes.images:
        data, dataset, summary = changes.images
        write_names(out, dataset)
        content |= {"data": str(data), "from_python": not isinstance(data, str), "paths": fingerprint(dataset)}
        content["found"] = dataclasses.asdict(summary)
    step, results = encoder_step(out), out / EVALUATION
    with usage_error(out):
        if step is not None and step < changes.steps and results.exists():
            results.replace(out / file_at(EVALUATION, step))
        save_config(out / CONFIG, changes.config, content)
        remove_other_names(out, content["paths"])


def stored_run(out: Path) -> tuple[Config, StoredRun]:
    """The settings of the run in `out` and what was resolved with them. Raises UsageError."""
    if not (out / CONFIG).is_file():
        raise UsageError(f"{out} holds no run to resume: leave out --resume to start one")
    return read_config(out / CONFIG)


def _with_machine_settings(out: Path, stored: Config, config: Config, given: dict[str, Any]) -> Config:
    """The stored settings with those given that may change; UsageError if others were given another value."""
    fixed = {name: value for name, value in given.items() if value is not None and name not in (*MACHINE, *LENGTH)}
    for name, value in fixed.items():
        as_stored = (name, value) == ("precision", "auto")  # which has been resolved
        if not as_stored and getattr(config, name) != getattr(stored, name):
            theirs = shown(getattr(stored, name))
            raise UsageError(
                f"{out} was started with {option(name)} {theirs}, not {shown(value)}: leave it out to resume"
            )
    machine = {name: getattr(config, name) for name in MACHINE if given.get(name) is not None}
    return dataclasses.replace(stored, **machine)


def check_recipe(out: Path, stored: Config, named: str | None, given: str | None) -> None:
    """Raise UsageError if the `given` recipe is another than that of a stored run, which may have been `named`."""
    if given is None or given == named:
        return
    if named:
        raise UsageError(f"{out} was started with --recipe {named}, not {given}: leave it out to resume")
    for name, value in recipe_settings(given).items():
        if name not in (*MACHINE, *LENGTH, "image_size") and normal(name, value) != getattr(stored, name):
            raise UsageError(
                f"{out} was started with {option(name)} {shown(getattr(stored, name))}, and --recipe {given} has "
                f"{shown(value)}: leave --recipe out to resume"
            )
