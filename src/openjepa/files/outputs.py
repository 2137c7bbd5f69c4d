"""Whether an output may be written: it replaces no input and no file that openjepa did not write."""

import fnmatch
import mimetypes
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from openjepa.errors import UsageError
from openjepa.files.marks import is_output, is_output_folder
from openjepa.files.writing import usage_error

MAGIC = r"[*?\[{]"
NO_DATA = (".html", ".json", ".csv", ".xlsx", ".txt", ".md")  # suffixes that no folder of images is read from
TABLE = ".parquet"


def check_output(
    path: Path, inputs: Iterable[str | Path] = (), overwrite: bool = False, data: Iterable[str | Path] = ()
) -> None:
    """Raise UsageError unless a command that reads `inputs` and the images `data` may write a file at `path`.

    Inputs and data are names as the user gave them; those that are no local files are left out. Refused are: an input,
    under this or another name; a file of a folder that is an input, unless openjepa wrote it as an output; a new file
    that would be read as data next time; and, without `overwrite`, any file that openjepa did not write.
    """
    check_can_write(path)
    images = [*map(str, data)]
    names = [*map(str, inputs), *images]
    for name in names:
        if (place := _local(name)) and place.exists() and path.exists() and path.samefile(place):
            raise UsageError(f"{path} is read by this command: give the output another name")
    within = next((name for name in names if _lies_in(path, name)), None)
    ours = not path.is_file() or _is_ours(path)
    if within and not ours:
        raise UsageError(f"{path} belongs to {within}, which is read by this command: give the output another name")
    if within := next((name for name in images if _becomes_data(path, name)), None):
        raise UsageError(f"{path} would be read as a part of {within}: give a name outside of it")
    if not (ours or overwrite):
        raise UsageError(
            f"{path} exists and is not an output of openjepa: give another name, or --overwrite to replace it"
        )


def replaces_folder(folder: Path, inputs: Iterable[str | Path], overwrite: bool, another: str) -> bool:
    """Whether a folder is there that is an earlier output, and with `overwrite` may be replaced by another one.

    Raises UsageError if it may not: without `overwrite`, and where it is, or holds, an input. `another` says what else
    the user can do.
    """
    try:
        if not folder.is_dir() or not is_output_folder(folder):
            return False
    except OSError:
        return False
    if any((place := _local(str(name))) and place.resolve().is_relative_to(folder.resolve()) for name in inputs):
        raise UsageError(f"{folder} is read by this command: {another}")
    if not overwrite:
        raise UsageError(f"{folder} holds an earlier output: {another}, or --overwrite to replace it")
    return True


def check_can_write(path: Path) -> None:
    """Raise UsageError unless a file can be written at `path`, its folders being made on the way; writes nothing."""
    with usage_error(path):
        if path.is_dir():
            raise UsageError(f"{path} is a folder: give the name of a file")
        above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise UsageError(f"{above} is a file, so nothing can be written below it: give another name")
    if not os.access(above, os.W_OK | os.X_OK | os.R_OK):
        raise UsageError(f"{above} cannot be written to: give another name, or change its permissions")


def check_folder_name(folder: Path) -> None:
    """Raise UsageError where the full name of a folder is not UTF-8: safetensors and LanceDB cannot open it."""
    try:
        os.fspath(folder.absolute()).encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"the name of {folder.absolute()} is not valid UTF-8, so that no weights can be read from it: give "
            "another name, or rename the folder that it lies in"
        ) from None


def check_outside(folder: Path, data: Iterable[str | Path]) -> None:
    """Raise UsageError where `folder`, to which files will be written, lies in a folder of images `data`."""
    for name in map(str, data):
        if not _is_pattern(name) and _lies_in(folder, name):
            raise UsageError(f"{folder} lies in {name}, of which it would become a part: give a folder outside of it")


def _is_ours(path: Path) -> bool:
    try:
        return is_output(path)
    except OSError:
        return False


def _is_pattern(name: str) -> bool:
    return bool(re.search(MAGIC, name)) and not os.path.lexists(os.path.expanduser(name))


def _local(name: str) -> Path | None:
    """The file or folder that a name leads to: itself, the archive that it goes into, or the folder of a pattern."""
    if _is_pattern(name):
        name = os.path.dirname(re.split(MAGIC, name)[0]) or "."
    path = Path(os.path.expanduser(name))
    return path if path.exists() else next((above for above in path.parents if above.is_file()), None)


def _lies_in(path: Path, name: str) -> bool:
    """Whether a file lies below the folder that a name leads to."""
    folder = _local(name)
    return folder is not None and folder.is_dir() and path.resolve().is_relative_to(folder.resolve())


def _becomes_data(path: Path, name: str) -> bool:
    """Whether a file at `path` would be one of the images of the data `name`."""
    if _is_pattern(name):
        return fnmatch.fnmatch(str(path.absolute()), os.path.abspath(os.path.expanduser(name)))
    folder = _local(name)
    if folder is None or not _lies_in(path, name):
        return False
    suffix = path.suffix.lower()
    if path.stem == "metadata":  # labels of a folder
        return True
    return not (suffix in NO_DATA or (suffix == TABLE and _has_pictures(folder)))


def _has_pictures(folder: Path) -> bool:
    """Whether there is a picture in or below a folder, so that its tables are no data."""
    return any((mimetypes.guess_type(name)[0] or "").startswith("image/") for name in _names_below(folder))


def _names_below(folder: Path) -> Iterator[str]:
    for _, _, files in os.walk(folder):
        yield from files
