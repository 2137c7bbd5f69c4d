"""From what the user typed to an ImageDataset."""

import difflib
import os
from pathlib import Path

from openjepa.data.dataset import ImageDataset
from openjepa.data.sources.indexed import Indexed
from openjepa.data.sources.objects import as_dataset
from openjepa.data.sources.registry import SOURCES, Progress, known
from openjepa.data.storage.layout import is_image
from openjepa.data.storage.names import printable
from openjepa.data.storage.split_path import Location, locate
from openjepa.errors import UsageError

Given = str | os.PathLike[str] | Indexed | ImageDataset
DataSource = str | ImageDataset  # a name, or what has none


def as_source(data: Given) -> DataSource:
    """What a function was given as images: the name of a source, or the dataset of what is no name. UsageError."""
    if isinstance(data, str | os.PathLike):
        return os.fspath(data)
    return data if isinstance(data, ImageDataset) else as_dataset(data)


def names_of(*sources: DataSource | None) -> list[str]:
    """The sources that are names."""
    return [source for source in sources if isinstance(source, str)]


def open_dataset(source: Given, progress: Progress = None) -> ImageDataset:
    """Open whatever docs/data.md lists: folders, patterns, lists, archives, shards, tables, arrays, names, URLs.

    An ImageDataset is returned as it is, other objects go through `as_dataset`.

    Only names are read here, and indexes of archives made; damage shows when images are inspected or loaded. Labels
    are {"class": int64 [n]} if every image lies exactly one folder deep and there are at least two such folders (those
    that wrap all images of an archive do not count), or those of columns and .cls files. A folder called "scenes" is
    opened as "./scenes". `progress(done, total)` is called while archives are indexed.

    Raises UsageError: nothing there, no images, an archive that is broken or encrypted, or a test or validation
    folder beside others, of which one must be named.
    """
    if not isinstance(source, str | os.PathLike):
        return source if isinstance(source, ImageDataset) else as_dataset(source)
    name = os.fsdecode(source)
    if not name.strip():
        raise UsageError(f"no images were named: give one of: {known()}")
    try:
        for kind in SOURCES:
            if kind.opener().takes(name):
                return kind.opener().open(name, progress)
    except OSError as error:
        shown = printable(name.rstrip("/") or name)
        raise UsageError(f"{shown} cannot be read: {printable(str(error.strerror or error))}") from error
    raise UsageError(_refusal(locate(name)))


def _refusal(place: Location) -> str:
    """Why no source takes a name."""
    if place.file:
        what = "a single image" if is_image(place.file) else "not something to read images from"
        return printable(f"{place.file} is {what}: give one of: {known()}")
    if os.path.exists(place.path):
        return f"{place.shown} is not a regular file or folder: give one of: {known()}"
    above = next((parent for parent in Path(place.path).parents if os.path.isdir(parent)), None)
    near: list[str] = []
    if above is not None and os.access(above, os.R_OK):
        near = difflib.get_close_matches(Path(place.path).relative_to(above).parts[0], os.listdir(above), n=1)
        near = [printable(str(above / name)) for name in near]
    return f"{place.shown} does not exist: " + (f"did you mean {near[0]}?" if near else f"give one of: {known()}")
