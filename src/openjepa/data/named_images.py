"""Images of a data set by their paths, or by enough of their ends."""

import difflib
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from openjepa.data.dataset import ImageDataset
from openjepa.errors import UsageError

SUGGESTED, COMPARED = 3, 20_000  # names that are suggested, and those among which similar ones are sought


def indices_of(dataset: ImageDataset, names: Sequence[str]) -> np.ndarray:
    """The index of each image that --show names by its path, or by enough of its end. Raises UsageError."""
    paths = [*dataset.paths] if names else []
    return np.array([index_of(paths, str(name), f"--show {name}", dataset.source) for name in names], np.int64)


def _suggestion(paths: Sequence[str], name: str) -> str:
    """The images whose names are closest: those that differ in folder, case or suffix alone, else similar ones."""
    stem = PurePosixPath(name).stem.casefold()
    same = [path for path in paths if PurePosixPath(path).stem.casefold() == stem]
    names = {PurePosixPath(path).name: path for path in paths[:COMPARED]}
    alike = difflib.get_close_matches(PurePosixPath(name).name, names, n=SUGGESTED)
    close = same[:SUGGESTED] or [names[one] for one in alike]
    return f"did you mean {' or '.join(close)}?" if close else f"give one such as {paths[0]}"


def index_of(paths: Sequence[str], name: str, given: str, source: str) -> int:
    """The place of an image among paths by its path, or by enough of its end; UsageError, which begins with `given`."""
    plain = name.replace("\\", "/").removeprefix("./")
    found = [i for i, path in enumerate(paths) if path == plain]
    found = found or [i for i, path in enumerate(paths) if path.endswith(f"/{plain}") or plain.endswith(f"/{path}")]
    if not paths:
        raise UsageError(f"{given} names none of the images of {source}, which has none: give other images")
    if not found:
        raise UsageError(f"{given} is none of the {len(paths):,} images of {source}: {_suggestion(paths, plain)}")
    if len(found) > 1:
        few = ", ".join(paths[i] for i in found[:3])
        raise UsageError(f"{given} names {len(found):,} images of {source} ({few}, ...): give more of the path")
    return found[0]
