"""Checkpoints that are whole or not there: hashed, flushed to the disk, verified when read.

A checkpoint is a folder `step-00000500` with `state.safetensors` (every tensor) and `state.json` (the rest and the
hash). Nothing is pickled.
"""

import json
import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from openjepa.files import atomic_folder, file_hash

TENSORS, STATE = "state.safetensors", "state.json"


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


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], state: dict) -> Path:
    """Write one checkpoint, all or nothing. Raises OSError (a full disk), after which `folder` is as it was."""
    target = checkpoint_path(folder, step)
    try:
        with atomic_folder(target, replace=True, durable=True) as part:
            save_file(tensors, part / TENSORS)
            text = json.dumps({**state, "step": step, "sha256": file_hash(part / TENSORS)}, indent=2)
            (part / STATE).write_text(text)
    except (OSError, SafetensorError) as error:
        raise OSError(f"cannot write {target}: {error}") from error
    return target


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and state of one checkpoint; raises DamagedCheckpoint unless every byte is what was written."""
    try:
        state = json.loads((path / STATE).read_text())
        if file_hash(path / TENSORS) != state["sha256"]:
            raise DamagedCheckpoint(f"{path} is damaged: its tensors are not the ones that were written")
        return load_file(path / TENSORS), state
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        if isinstance(error, DamagedCheckpoint):
            raise
        raise DamagedCheckpoint(f"{path} is damaged: {error}") from error


def load_newest(folder: Path) -> tuple[dict[str, Tensor], dict, list[str]]:
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
