"""The encoder of a checkpoint of a run, also while the run trains: files are read whole, without the run's lock."""

import copy
import dataclasses
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openjepa.config import Config
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import Model
from openjepa.encoder.foreign import OURS, check_pooling
from openjepa.errors import UsageError
from openjepa.interop.artifact import needs_network, readable, vits
from openjepa.interop.foreign.artifact import foreign_folder
from openjepa.interop.foreign.open import open_foreign
from openjepa.interop.foreign.own_artifact import load_own, own_class
from openjepa.interop.foreign.patch_encoder import ForeignPatchEncoder
from openjepa.interop.foreign.source import ForeignSource
from openjepa.interop.load import load_encoder, open_source
from openjepa.interop.loaded_weights import Source, adapted
from openjepa.interop.open_model import is_folder, open_model
from openjepa.methods.base import Parts
from openjepa.runs.planning.build_model import build_model
from openjepa.runs.planning.foreign_weights import stored_foreign
from openjepa.runs.planning.frozen_teacher import AbsentTeacher
from openjepa.runs.planning.initial_weights import stored_networks
from openjepa.runs.planning.own_classes import OwnModel, check_same_model
from openjepa.runs.settings import CONFIG, StoredRun, read_config
from openjepa.training.checkpoint import (
    DamagedCheckpoint,
    State,
    checkpoint_path,
    checkpoint_steps,
    load_checkpoint,
    read_state,
)

CHECKPOINTS = "checkpoints"
LAST, BEST = "last", "best"
TRIES = 3  # of reading a checkpoint that a training run may replace meanwhile
PAUSE = 0.2  # seconds between them
SHOWN = 12  # steps in a message
AGAIN = "name another step, or leave out --step"
REPAIR = "repair it, or leave out --step"
Step = int | str | None  # as users give it


def is_run_folder(path: Path) -> bool:
    """Whether a folder holds config.json of a run and no artifact."""
    return (path / CONFIG).is_file() and not (path / "openjepa.json").exists()


def open_source_at(
    name: str, step: Step, image_size: tuple[int, int] | None = None, num_heads: int | None = None
) -> Source:
    """All networks of what a user names or, with a `step`, of that checkpoint of the run `name`. Raises UsageError.

    `about` of a source from a checkpoint has the number of its `step`.
    """
    if step is None:
        return open_source(name, image_size, num_heads=num_heads)
    return adapted(checkpoint_source(Path(name), step), image_size, None)


def open_foreign_at(name: str, step: Step, which: str = "target") -> ForeignSource | None:
    """The network of another library that a name means or, with a `step`, that of this checkpoint of the run `name`.

    None for networks of openjepa. Of a run that has one, `which` encoder, target or context. Raises UsageError.
    """
    if step is None:
        return open_foreign(name, which)
    folder = Path(name)
    if not is_run_folder(folder) or read_config(folder / CONFIG, REPAIR)[1].foreign is None:
        return None
    config, stored, number, (target, context, _) = networks_at(folder, step)
    chosen = context if which == "context" and context else target
    assert isinstance(chosen, ForeignPatchEncoder)
    licence = stored.source.licence if stored.source else None
    source = chosen.as_source(stored.mean, stored.std, config.frame, licence, stored.read_as)
    return replace(source, name=label_at(name, number), about=_about(config, stored, number))


def trained_foreign_at(name: str, step: Step, which: str = "target") -> ForeignSource | None:
    """`open_foreign_at` of a run or artifact alone; None for anything else."""
    path = Path(name)
    with readable(name):
        found = step is not None or foreign_folder(path) is not None
    return open_foreign_at(name, step, which) if found else None


def open_own_at(
    name: str,
    step: Step,
    network: nn.Module | None,
    device: torch.device,
    precision: torch.dtype,
    which: str = "target",
    image_size: tuple[int, int] | None = None,
) -> Encoder | None:
    """The encoder of a run that trained a network of a program, in a copy of `network`; None for any other model.

    Without a `step` it is that of the finished run, of which the context encoder is in the last checkpoint. Raises
    UsageError where no network of its class is given, and where one does not fit.
    """
    path = Path(name)
    with readable(name):
        kind = own_class(path) if step is None else own_class_of_run(path)
    if kind is None:
        return None
    if network is None:
        raise UsageError(needs_network(name, kind))
    if image_size not in (None, getattr(network, "image_size", None)):
        raise UsageError(f"{name} holds a network of the class {kind}, whose image size is its own: leave it out")
    if step is None and which == "target":
        return load_own(path, copy.deepcopy(network), device, precision)
    config, stored, number, (target, context, _) = networks_at(path, LAST if step is None else step, network)
    chosen = context if which == "context" and context else target
    how = device, precision, stored.read_as, config.max_stretch
    return Encoder(chosen, stored.mean, stored.std, label_at(name, None if step is None else number), *how)


def own_class_of_run(folder: Path) -> str | None:
    """The name of the class of the network that a program gave for a run; None for other networks."""
    stored = read_config(folder / CONFIG, REPAIR)[1] if is_run_folder(folder) else None
    return stored.own_model.name.partition(":")[2] if stored and stored.own_model and not stored.foreign else None


def open_model_at(
    name: str,
    step: Step,
    device: torch.device,
    precision: torch.dtype,
    pooling: str = "auto",
    network: nn.Module | None = None,
) -> Model:
    """The model of a name or, with a `step`, the encoder of that checkpoint of the run `name`. Raises UsageError.

    `network` is for a run that trained one of a program: one of the same class, which stays as it is.
    """
    if own := open_own_at(name, step, network, device, precision):
        check_pooling(pooling, OURS, name)
        return own
    if step is None:
        return open_model(name, device, precision, pooling=pooling)
    if foreign := open_foreign_at(name, step):
        return foreign.encoder(device, precision, pooling)
    check_pooling(pooling, OURS, name)
    return load_encoder_at(name, step, device, precision)


def load_encoder_at(
    name: str,
    step: Step,
    device: torch.device,
    precision: torch.dtype,
    which: str = "target",
    image_size: tuple[int, int] | None = None,
    network: nn.Module | None = None,
) -> Encoder:
    """The encoder of a run or, with a `step`, of that checkpoint of it. Raises UsageError. `network` as above."""
    if own := open_own_at(name, step, network, device, precision, which, image_size):
        return own
    if step is None:
        return load_encoder(name, device, precision, which=which, image_size=image_size)
    if foreign := open_foreign_at(name, step, which):
        return (foreign.at_size(image_size) if image_size else foreign).encoder(device, precision)
    source = open_source_at(name, step, image_size)
    how = device, precision, source.pixel_format, source.max_stretch, source.licence
    return Encoder(source.encoder(which), source.mean, source.std, label_at(name, source.about["step"]), *how)


def label_at(name: str, step: int | None) -> str:
    """The name of a run as of a step in tables and records."""
    return name if step is None else f"{name} (step {step})"


def file_at(name: str, step: int | None) -> str:
    """The name of a file in a run folder that is of a step: "report.html" is report-step-00000300.html."""
    path = Path(name)
    return name if step is None else f"{path.stem}-step-{step:08d}{path.suffix}"


def find_steps(names: Sequence[str], step: Step) -> dict[str, int]:
    """The number of a step of each of the models that are folders; {} without a step. Raises UsageError."""
    if step is None:
        return {}
    folders = [name for name in names if is_folder(name)]
    return {name: find_step(Path(name), step) for name in folders}


def checkpoint_source(folder: Path, step: int | str) -> Source:
    """The networks of a run as they were after a step: its number, "last", "best" or "best-MONITOR".

    Raises UsageError for a folder that is no run, a step that is not kept (the message lists those that are), "best"
    where several monitors have one, and a checkpoint that is damaged.
    """
    config, stored, number, networks = networks_at(folder, step)
    return _source_of(folder, config, stored, number, networks)


def networks_at(
    folder: Path, step: int | str, network: nn.Module | None = None
) -> tuple[Config, StoredRun, int, Parts]:
    """The settings of a run, the number of a step, and the networks as they were after it; UsageError as above."""
    tensors, number = _tensors_of(folder, step)
    config, stored = read_config(folder / CONFIG, REPAIR)
    networks = stored_foreign(config, stored) or stored_networks(config, stored)
    if network is not None and not networks:
        model = OwnModel.of(network)
        check_same_model(model, stored.own_model)
        networks = model.networks(config)
    teacher = AbsentTeacher(stored.teacher.embed_dim) if stored.teacher else None
    method = networks.build() if networks else build_model(config, len(stored.mean), teacher)
    weights = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    try:
        method.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UsageError(f"{folder} holds a checkpoint of another run ({reason}): {AGAIN}") from error
    return config, stored, number, method.eval().parts()


def _source_of(folder: Path, config: Config, stored: StoredRun, step: int, networks: Parts) -> Source:
    pixel_format, about = stored.read_as, _about(config, stored, step)
    return Source(
        str(folder),
        "openjepa",
        stored.mean,
        stored.std,
        *vits(networks),
        licence=stored.source.licence if stored.source else None,
        about=about,
        values=pixel_format.values,
        pages=pixel_format.pages,
        max_stretch=config.max_stretch,
    )


def _about(config: Config, stored: StoredRun, step: int) -> dict[str, Any]:
    about: dict[str, Any] = {"step": step, "data": stored.data, "settings": dataclasses.asdict(config)}
    about |= {"source": stored.source.model_dump()} if stored.source else {}
    return about | ({"teacher": stored.teacher.about} if stored.teacher else {})


def _tensors_of(run: Path, step: int | str) -> tuple[dict[str, Tensor], int]:
    """The tensors of a checkpoint and its step; asked again where a run that trains may just have deleted it."""
    for left in reversed(range(TRIES)):
        number = find_step(run, step)
        try:
            return load_checkpoint(checkpoint_path(run / CHECKPOINTS, number))[0], number
        except DamagedCheckpoint as error:
            if left == 0:
                raise UsageError(f"{error}: {AGAIN}") from error
            time.sleep(PAUSE)
    raise AssertionError("the last try returns or raises")


def find_step(run: Path, asked: int | str) -> int:
    """The number of the step that a user asks for. Raises UsageError, which lists the steps that are kept."""
    if not is_run_folder(run):
        raise UsageError(f"--step {asked} needs the folder of a run, which {run} is not: leave out --step")
    checkpoints, wanted = run / CHECKPOINTS, str(asked)
    kept = checkpoint_steps(checkpoints)
    if not kept:
        raise UsageError(f"{run} has no checkpoint yet: --step {wanted} needs one (--checkpoint-minutes, --keep-every)")
    if wanted == LAST:
        return kept[-1]
    if wanted == BEST or wanted.startswith(f"{BEST}-"):
        return _best_step(_newest_state(checkpoints, kept), run, wanted)
    if not (wanted.isascii() and wanted.isdigit()):
        raise UsageError(f"--step {wanted} is not a step: give a number, {LAST}, {BEST} or {BEST}-MONITOR")
    if int(wanted) not in kept:
        raise UsageError(
            f"step {wanted} of {run} is not kept: kept are {_in_words(kept)}; a run with --keep-every 100 keeps every "
            "100th step"
        )
    return int(wanted)


def _best_step(state: State, run: Path, wanted: str) -> int:
    best = {str(monitor): step for monitor, (_, step) in state.best.items()}
    known = ", ".join(f"{BEST}-{monitor} (step {step})" for monitor, step in best.items())
    if not best:
        raise UsageError(f"{run} has no best encoder yet: give a number or {LAST}")
    if wanted == BEST and len(best) == 1:
        return next(iter(best.values()))
    if wanted == BEST:
        raise UsageError(f"--step {BEST} of {run} could be one of several: give {known}")
    if (monitor := wanted.removeprefix(f"{BEST}-")) not in best:
        raise UsageError(f"--step {wanted} is not known for {run}: known are {known}")
    return best[monitor]


def _newest_state(checkpoints: Path, kept: list[int]) -> State:
    """What the newest sound checkpoint says beside its tensors."""
    complaint = ""
    for step in reversed(kept):
        try:
            return read_state(checkpoint_path(checkpoints, step))
        except DamagedCheckpoint as error:
            complaint = complaint or str(error)
    raise UsageError(f"{complaint}: {AGAIN}")


def _in_words(steps: list[int]) -> str:
    words = [str(step) for step in steps]
    if len(words) > SHOWN:
        words = [*words[: SHOWN // 2], "...", *words[-SHOWN // 2 :]]
    return ", ".join(words)
