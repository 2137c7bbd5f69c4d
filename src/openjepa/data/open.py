"""From what the user typed to an ImageDataset."""

import difflib
import os
import re
import struct
import zipfile
from collections.abc import Callable
from glob import glob
from pathlib import Path

import numpy as np
import pyarrow as pa

from openjepa.data.dataset import ImageDataset, ImageFiles
from openjepa.data.sources.arrays import ARRAYS, open_arrays
from openjepa.data.sources.folder import walk
from openjepa.data.sources.hub import open_hub, open_torchvision
from openjepa.data.sources.layout import SUFFIXES, Layout, candidates, images_among, only_split, wrapping_folders
from openjepa.data.sources.lists import LISTS, columns_at, metadata_of, present, read_list
from openjepa.data.sources.names import Names, joined, printable
from openjepa.data.sources.remote import expand, files_below, has_magic, is_remote
from openjepa.data.sources.storage import Folder, Skipped, Zip, leaves, on_one_line
from openjepa.data.sources.tables import Rows, image_column, parquet_schema, unpacked
from openjepa.data.sources.tar import COMPRESSED, is_compressed
from openjepa.data.sources.tar_shards import missing_inside, open_tars
from openjepa.errors import UsageError

SOURCE_KINDS = (
    "a folder, a glob, a .zip or .tar, a list (.txt, .csv, .parquet), arrays (.npy, .npz, .h5), hf:NAME or scenes"
)
SHARDS = (".tar", *COMPRESSED, ".parquet", ".arrow")
Progress = Callable[[int, int], None] | None


def open_dataset(source: str | Path, progress: Progress = None) -> ImageDataset:
    """Opens whatever docs/data.md lists: folders, globs, lists, archives, shards, tables, arrays, names, URLs.

    Only names are read here, and indexes of archives made; what is damaged shows at inspection and at loading. Labels
    are {"class": int64 [n]} if every image lies exactly one folder deep and there are at least two such folders (those
    that wrap all images of an archive do not count), or what columns and .cls files say. A folder called "scenes" is
    opened as "./scenes". `progress(done, total)` is called while archives are indexed.

    Raises UsageError: nothing there, no images, an archive that is broken or encrypted, or a test or validation
    folder beside others, of which one must be named.
    """
    typed = os.fsdecode(source)
    named = _BY_NAME.get(typed.partition(":")[0])
    if named and (":" in typed or typed == "scenes"):
        return named(typed)
    if not typed.strip():
        raise UsageError(f"no images were named: give {SOURCE_KINDS}")
    shown = printable(typed.rstrip("/") or typed)
    try:
        return _open_path(typed if is_remote(typed) else os.path.expanduser(typed), shown, progress)
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {printable(str(error.strerror or error))}") from error


def _open_path(path: str, shown: str, progress: Progress) -> ImageDataset:
    if has_magic(path) and not os.path.lexists(path):
        return _open_many(expand(path), path, shown, progress)
    if is_remote(path):
        file, inside = re.fullmatch(r"(.*?\.(?:zip|tar))/(.+)|(.*)", path).group(1, 2)
        return _open_file(file or path, inside or "", shown, progress)
    if os.path.isdir(path):
        return _open_folder(path, shown, progress)
    file = next((str(place) for place in (Path(path), *Path(path).parents) if os.path.isfile(place)), None)
    if file is None:
        raise UsageError(_missing(Path(path), shown))
    inside = os.path.relpath(path, file).replace(os.sep, "/")
    return _open_file(os.path.abspath(file), "" if inside == "." else inside, shown, progress)


def _open_file(file: str, inside: str, shown: str, progress: Progress) -> ImageDataset:
    suffix = os.path.splitext(file)[1].lower()
    if suffix == ".tar" or is_compressed(file):
        return open_tars([file], shown, progress, inside)
    if suffix in ARRAYS and not is_remote(file):
        rows, name, labels = open_arrays(file, inside)
        return ImageFiles(shown, rows, Names.numbered(name or Path(file).stem, len(rows.array)), *labels)
    if suffix in LISTS and not inside:
        return _open_list(file, shown)
    if suffix in (".parquet", ".arrow") and not inside:
        return _open_tables([file], shown, progress)
    if is_remote(file) and suffix != ".zip":
        return _open_names(file, Names.of(files_below(file)), shown, [])
    return _open_zip(file, inside + "/" * bool(inside), shown)


def _open_folder(path: str, shown: str, progress: Progress) -> ImageFiles:
    root = os.path.abspath(path)
    if os.path.isfile(os.path.join(root, "dataset_dict.json")):
        parts = [os.path.dirname(part) for part in glob("*/", root_dir=root)]
        if not parts:
            raise UsageError(f"{shown} has a dataset_dict.json and nothing beside: save or copy it again")
        return _open_folder(os.path.join(root, only_split(parts, shown)), shown, progress)
    if os.path.isfile(os.path.join(root, "state.json")):
        files = sorted(str(file) for file in Path(root).glob("*.arrow"))
        return _open_tables(files, shown, progress)
    files, unread = walk(root)
    shards = [os.path.join(root, name) for name in _shards(files)]
    if shards:
        return _open_many(shards, root, shown, progress)
    return _open_names(root, files, shown, unread)


def _shards(files: Names) -> list[str]:
    """The shards in a folder that holds no images itself."""
    if images_among(files).any():
        return []
    found = files.where(files.match(rf"({'|'.join(map(re.escape, SHARDS))})\z"))
    return [found.raw(row) for row in range(len(found))]


def _open_names(root: str, files: Names, shown: str, unread: Skipped) -> ImageFiles:
    """Images below a folder, local or not."""
    chosen, others = candidates(files, shown)
    names = files if len(chosen) == len(files) else files.take(chosen)
    Layout(names, wrapping_folders(names)).refuse_splits(shown)
    labels, classes = Layout(names).classes()
    if not labels and not is_remote(root):
        labels, classes = metadata_of(root, names)
    return ImageFiles(shown, Folder(root, names), names, labels, classes, on_one_line(unread) + others)


def _open_many(paths: list[str], pattern: str, shown: str, progress: Progress) -> ImageFiles:
    """What a pattern or a folder of shards stands for: shards of one kind, or images and folders of images."""
    if not paths:
        raise UsageError(f"nothing matches {shown}: give {SOURCE_KINDS}")
    kinds = {os.path.splitext(path)[1].lower() for path in paths}
    if kinds == {".tar"} or all(map(is_compressed, paths)):
        return open_tars(paths, shown, progress)
    if kinds in ({".parquet"}, {".arrow"}):
        return _open_tables(paths, shown, progress)
    root = os.path.dirname(re.split(r"[*?\[{]", pattern)[0])
    root = root if is_remote(root) else os.path.abspath(root)
    names, unread = [], []
    for path in paths:
        inner = path.removeprefix(root + "/") if is_remote(path) else os.path.relpath(path, root)
        found, bad = walk(path) if os.path.isdir(path) else (Names.of([]), [])
        names.append(found.below(inner + "/") if os.path.isdir(path) else Names.of([inner]))
        unread += [(f"{inner}/{name}", reason) for name, reason in bad]
    return _open_names(root, joined(names), shown, unread)


def _open_tables(files: list[str], shown: str, progress: Progress) -> ImageFiles:
    """Rows of Parquet or Arrow files; a Parquet file without a column of images is a list of paths."""
    if files and files[0].lower().endswith(".parquet"):
        if image_column(parquet_schema(files[0])) is None:
            if len(files) > 1:
                raise UsageError(f"{shown} has no column of images: give one list of paths, or files with images")
            return _open_list(files[0], shown)
        files = unpacked(files, progress)
    try:
        rows = Rows(files)
    except (pa.ArrowException, IndexError) as error:
        reason = str(error).splitlines()[0] if files else "no .arrow file"
        raise UsageError(f"{shown} is not a readable data set ({reason}): save or copy it again") from error
    if rows.column is None:
        raise UsageError(f"{shown} has no column of images: it has {', '.join(rows.tables[0].column_names)}")
    if not len(rows):
        raise UsageError(f"no images in {shown}: found 0 rows")
    return ImageFiles(shown, rows, rows.names(), *rows.labels())


def _open_zip(file: str, inside: str, shown: str) -> ImageFiles:
    archive = Zip(file, inside)
    try:
        members = archive.members()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise UsageError(_not_a_zip(file, error)) from error
    if inside and not members:
        everything = Zip(file)
        raise UsageError(missing_inside(map(everything.name, everything.members()), inside[:-1], file))
    if any(member.flag_bits & 1 for member in members):
        raise UsageError(f"{printable(file)} is encrypted: unpack it and give the folder")
    members = [archive.name(member) for member in members]
    outside = [(name, "points outside of the archive") for name in members if leaves(name)]
    found = Names.of(name for name in members if not leaves(name))
    chosen, others = candidates(found, shown)
    archive.names = found.take(chosen)
    layout = Layout(archive.names, wrapping_folders(archive.names))
    layout.refuse_splits(shown)
    return ImageFiles(shown, archive, archive.names, *layout.classes(), on_one_line(outside) + others)


def _open_list(path: str, shown: str) -> ImageFiles:
    paths, columns = read_list(path)
    root = os.path.dirname(path)
    chosen, skipped = candidates(Names.of(paths), shown)
    there, absent = ([True] * len(chosen), []) if is_remote(path) else present(root, [paths[row] for row in chosen])
    chosen = chosen[np.array(there)]
    if not len(chosen):
        raise UsageError(
            f"none of the {len(absent):,} images listed in {shown} exists ({printable(absent[0][0])}, ...): "
            "write paths that are absolute or relative to the folder of the list"
        )
    names = Names.of(paths[row] for row in chosen)
    return ImageFiles(shown, Folder(root, names), names, *columns_at(columns, chosen), on_one_line(absent) + skipped)


def _open_scenes(typed: str) -> ImageDataset:
    from openjepa.data.scenes.scenes import Scenes

    match = re.fullmatch(r"scenes(?::([1-9][0-9]{0,8})(?::([0-9]{1,9}))?)?", typed)
    if not match:
        raise UsageError(f"{typed} is not understood: write scenes, scenes:COUNT or scenes:COUNT:SEED (scenes:20000:0)")
    return Scenes(count=int(match[1] or 20000), seed=int(match[2] or 0))


def _missing(path: Path, shown: str) -> str:
    above = next((parent for parent in path.parents if os.path.isdir(parent)), None)
    if above is None or not os.access(above, os.R_OK):
        return f"{shown} does not exist: give {SOURCE_KINDS}"
    near = difflib.get_close_matches(path.relative_to(above).parts[0], os.listdir(above), n=1)
    return f"{shown} does not exist: " + (
        f"did you mean {printable(str(above / near[0]))}?" if near else f"give {SOURCE_KINDS}"
    )


def _not_a_zip(file: str, error: Exception) -> str:
    suffix = os.path.splitext(file)[1].lower()
    if suffix == ".zip":
        return printable(f"{file} is not a readable zip ({error}): copy or pack it again")
    kind = "a single image" if suffix in SUFFIXES else "not something to read images from"
    return printable(f"{file} is {kind}: give {SOURCE_KINDS}")


_BY_NAME: dict[str, Callable[[str], ImageDataset]] = {
    "scenes": _open_scenes,
    "hf": open_hub,
    "hf-stream": open_hub,
    "torchvision": open_torchvision,
}
