"""From what the user typed to an ImageDataset: a folder, a zip, a folder inside a zip, a list of paths, scenes."""

import difflib
import os
import re
import struct
import zipfile
from pathlib import Path

from openjepa.data.dataset import ImageDataset, ImageFiles
from openjepa.data.layout import SUFFIXES, candidates, class_folders, refuse_splits, wrapping_folders
from openjepa.data.storage import Archive, Folder, Skipped, printable, walk
from openjepa.errors import UsageError

KINDS = "a folder, a .zip, a .txt with one path a line, or scenes"


def open_dataset(source: str | Path) -> ImageDataset:
    """Opens "FOLDER", "FILE.zip", "FILE.zip/FOLDER", "FILE.txt" (a path a line) or "scenes[:COUNT[:SEED]]".

    Only names are read here; what is damaged shows at inspection and at loading. Labels {"class": int64 [n]}
    exist if every image lies exactly one folder deep and there are at least two such folders; folders that
    wrap all images of a zip do not count. A folder called "scenes" is opened as "./scenes".

    Raises UsageError: nothing there, no images, a zip that is broken or encrypted, or a test or validation
    folder beside others, of which one must be named.
    """
    typed = os.fsdecode(source)
    if typed == "scenes" or typed.startswith("scenes:"):
        return _open_scenes(typed)
    if not typed.strip():
        raise UsageError(f"no images were named: give {KINDS}")
    path, shown = os.path.expanduser(typed), printable(typed.rstrip("/") or typed)
    if os.path.isdir(path):
        return _open_folder(path, shown)
    file = next((str(place) for place in (Path(path), *Path(path).parents) if os.path.isfile(place)), None)
    if file is None:
        raise UsageError(_missing(Path(path), shown))
    inside = os.path.relpath(path, file).replace(os.sep, "/")
    if inside == "." and path.lower().endswith(".txt"):
        return _open_list(path, shown)
    return _open_zip(file, "" if inside == "." else inside + "/", shown)


def _open_scenes(typed: str) -> ImageDataset:
    from openjepa.data.scenes import Scenes

    match = re.fullmatch(r"scenes(?::([1-9][0-9]{0,8})(?::([0-9]{1,9}))?)?", typed)
    if not match:
        raise UsageError(f"{typed} is not understood: write scenes, scenes:COUNT or scenes:COUNT:SEED (scenes:20000:0)")
    return Scenes(count=int(match[1] or 20000), seed=int(match[2] or 0))


def _open_folder(path: str, shown: str) -> ImageFiles:
    root = os.path.abspath(path)
    try:
        files, unread = walk(root)
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror}") from error
    names, others = candidates(files, shown)
    _refuse_splits_inside(names, shown)
    return ImageFiles(shown, Folder(root), names, *class_folders(names), _printable(unread + others))


def _open_zip(file: str, inside: str, shown: str) -> ImageFiles:
    archive = Archive(os.path.abspath(file), inside)
    try:
        members = archive.members()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        raise UsageError(_not_a_zip(file, error)) from error
    if inside and not members:
        raise UsageError(_missing_inside(Archive(archive.path), inside[:-1], file))
    if any(member.flag_bits & 1 for member in members):
        raise UsageError(f"{printable(file)} is encrypted: unpack it and give the folder")
    names, others = candidates([archive.name(member) for member in members], shown)
    _refuse_splits_inside(names, shown)
    wrapper = wrapping_folders(names)
    labels, classes = class_folders([name.removeprefix(wrapper) for name in names])
    return ImageFiles(shown, archive, names, labels, classes, _printable(others))


def _refuse_splits_inside(names: list[str], shown: str) -> None:
    wrapper = wrapping_folders(names)
    refuse_splits([name.removeprefix(wrapper) for name in names], f"{shown}/{wrapper}".rstrip("/"))


def _open_list(path: str, shown: str) -> ImageFiles:
    storage = Folder(os.path.abspath(os.path.dirname(path)))
    names, skipped = candidates([os.path.normpath(line).replace(os.sep, "/") for line in _lines(path)], shown)
    missing = {name for name in names if not os.path.isfile(os.path.join(storage.root, name))}
    if len(missing) == len(names):
        example = printable(names[0])
        raise UsageError(
            f"none of the {len(names):,} images listed in {shown} exists ({example}, ...): "
            "write paths that are absolute or relative to the folder of the list"
        )
    skipped += [(name, "missing") for name in sorted(missing)]
    return ImageFiles(shown, storage, [name for name in names if name not in missing], skipped=_printable(skipped))


def _lines(path: str) -> list[str]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"{printable(path)} cannot be read: {error.strerror}") from error
    lines = (line.strip() for line in text.split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def _missing(path: Path, shown: str) -> str:
    above = next((parent for parent in path.parents if os.path.isdir(parent)), None)
    if above is None or not os.access(above, os.R_OK):
        return f"{shown} does not exist: give {KINDS}"
    near = difflib.get_close_matches(path.relative_to(above).parts[0], os.listdir(above), n=1)
    return f"{shown} does not exist: " + (
        f"did you mean {printable(str(above / near[0]))}?" if near else f"give {KINDS}"
    )


def _missing_inside(whole: Archive, inside: str, file: str) -> str:
    folders = {os.path.dirname(whole.name(member)) for member in whole.members()} - {""}
    tops = sorted({folder.split("/")[0] for folder in folders})
    near = difflib.get_close_matches(inside, sorted(folders | set(tops)), n=1)
    hint = f"did you mean {file}/{near[0]}?" if near else "it holds " + (", ".join(tops[:10]) or "no folders")
    return printable(f"{file} has no folder {inside}: {hint}")


def _not_a_zip(file: str, error: Exception) -> str:
    suffix = os.path.splitext(file)[1].lower()
    if suffix == ".zip":
        return printable(f"{file} is not a readable zip ({error}): copy or pack it again")
    kind = "a single image" if suffix in SUFFIXES else "not something to read images from"
    return printable(f"{file} is {kind}: give {KINDS}")


def _printable(skipped: Skipped) -> Skipped:
    return [(printable(name), printable(reason)) for name, reason in skipped]
