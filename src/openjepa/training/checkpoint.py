"""Checkpoints that are whole or not there: hashed, flushed to the disk, verified when read.

A checkpoint is a folder `step-00000500` with `state.safetensors` (every tensor) and `state.json` (the rest, and hashes
of both). Nothing is pickled.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from openjepa.errors import UsageError
from openjepa.files import atomic_folder, file_hash
from openjepa.safety.schema import Json, Name, Schema, Text, read_json

TENSORS, STATE = "state.safetensors", "state.json"
MAX_BYTES = 2**28  # of state.json, which lists every image that could not be read
SELECTED_BY = ("rank", "knn")  # the monitors whose best encoder is kept
EXTREMES = ("std", "positional_fraction")
BEST_BY = (*SELECTED_BY, "validation")  # by which fine-tuning chooses
Step = Annotated[int, Field(ge=0, le=10**12)]


class State(Schema):
    """What a checkpoint holds beside the tensors.

    best       monitor -> (value, step) of the best encoder by it
    skipped    path -> reason of the images that could not be read
    untrained  the monitors and probes at step 0; without probes in older files
    extremes   the largest and least of some monitors since then; {} in older files
    settings   what shapes the run, by name; {} in older files
    """

    step: Step
    best: dict[Literal[BEST_BY], tuple[float, Step]]  # type: ignore[valid-type]
    skipped: dict[Text, Text]
    untrained: dict[Name, float]
    extremes: dict[Literal[EXTREMES], float] = Field(default_factory=dict)  # type: ignore[valid-type]
    settings: dict[Name, Json] = Field(default_factory=dict)
    sha256: Name
    state_sha256: Name | None = None


class DamagedCheckpoint(ValueError):
    """A checkpoint that cannot be trusted; the message says which and why."""


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint in `folder`, ascending."""
    names = (path.name for path in folder.glob("step-*") if path.is_dir())
    return sorted(int(name[5:]) for name in names if name == checkpoint_path(folder, _number(name)).name)


def _number(name: str) -> int:
    digits = name.removeprefix("step-")
    return int(digits) if digits.isascii() and digits.isdigit() else 0


def checkpoint_path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> Path:
    """Write one checkpoint, all or nothing; `state` are the fields of `State` but step and hashes.

    Raises OSError (a full disk), after which `folder` is as it was.
    """
    target = checkpoint_path(folder, step)
    try:
        with atomic_folder(target, replace=True, durable=True) as part:
            save_file(tensors, part / TENSORS)
            content = {**state, "step": step, "sha256": file_hash(part / TENSORS)}
            content["state_sha256"] = state_hash(content)
            (part / STATE).write_text(json.dumps(content, indent=2))
    except (OSError, SafetensorError) as error:
        raise OSError(f"{target.name}: {error}") from error
    return target


def state_hash(content: dict[str, Any]) -> str:
    """The SHA-256 of what state.json holds, without this hash itself."""
    hashed = {name: value for name, value in content.items() if name != "state_sha256"}
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()


def read_state(path: Path) -> State:
    """The state of one checkpoint; raises DamagedCheckpoint unless it is what was written, of a step as `path` says."""
    try:
        state = read_json(path / STATE, State, "the checkpoint cannot be used", MAX_BYTES)
        if checkpoint_path(path.parent, state.step) != path:
            raise DamagedCheckpoint(f"{path} is damaged: its state is of step {state.step:,}")
        if state.state_sha256 and state_hash(json.loads((path / STATE).read_text())) != state.state_sha256:
            raise DamagedCheckpoint(f"{path} is damaged: its state is not the one that was written")
    except UsageError as error:
        raise DamagedCheckpoint(str(error)) from error
    except OSError as error:
        raise DamagedCheckpoint(f"{path} is damaged: {error}") from error
    return state


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], State]:
    """Tensors and state of one checkpoint; raises DamagedCheckpoint unless every byte is what was written."""
    try:
        state = read_state(path)
        if file_hash(path / TENSORS) != state.sha256:
            raise DamagedCheckpoint(f"{path} is damaged: its tensors are not the ones that were written")
        return load_file(path / TENSORS), state
    except (OSError, SafetensorError) as error:
        raise DamagedCheckpoint(f"{path} is damaged: {error}") from error


def load_newest(folder: Path) -> tuple[dict[str, Tensor], State, list[str]]:
    """The newest sound checkpoint and what was wrong with newer ones; raises DamagedCheckpoint if none is sound."""
    complaints: list[str] = []
    for step in reversed(checkpoint_steps(folder)):
        try:
            return *load_checkpoint(checkpoint_path(folder, step)), complaints
        except DamagedCheckpoint as error:
            complaints.append(str(error))
    raise DamagedCheckpoint("; ".join(complaints) or f"there is no checkpoint in {folder}")


def retain(folder: Path, protected: set[int], every: int = 0, newest: int = 2, done: int | None = None) -> None:
    """Delete all but the `newest` checkpoints, the protected steps and the multiples of `every` (0: none).

    A run that is at `done` has given up checkpoints of later steps, which were damaged: they count for nothing.
    """
    steps = checkpoint_steps(folder)
    kept = [step for step in steps if done is None or step <= done]
    keep = {*kept[-newest:], *protected, *(step for step in kept if every and step % every == 0)}
    for step in set(steps) - keep:
        shutil.rmtree(checkpoint_path(folder, step))
