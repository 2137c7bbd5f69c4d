"""Images below a folder, local or remote: files nested anyhow, shards, or what Hugging Face's save_to_disk wrote."""

import os
import re
from glob import glob
from pathlib import Path

from openjepa.data.dataset import ImageFiles
from openjepa.data.sources.labels import Labels
from openjepa.data.sources.lists import metadata_of
from openjepa.data.sources.registry import Progress
from openjepa.data.sources.tables import TABLES, open_tables
from openjepa.data.sources.tar import open_tars
from openjepa.data.storage.layout import Layout, candidates, images_among, only_split, wrapping_folders
from openjepa.data.storage.listing import walk
from openjepa.data.storage.names import Names
from openjepa.data.storage.remote import files_below, is_remote
from openjepa.data.storage.split_path import locate
from openjepa.data.storage.storage import Folder, Skipped, on_one_line
from openjepa.data.storage.tar_reading import COMPRESSED, is_compressed
from openjepa.errors import UsageError

SHARDS = (".tar", *COMPRESSED, *TABLES)


def takes(name: str) -> bool:
    return is_remote(name) or os.path.isdir(os.path.expanduser(name))


def open(name: str, progress: Progress = None) -> ImageFiles:
    """All images below a folder or URL. Raises OSError, UsageError."""
    place = locate(name)
    if is_remote(place.path):
        return open_names(place.path, Names.of(files_below(place.path)), place.shown, [])
    return _open_folder(place.path, place.shown, progress)


def _open_folder(root: str, shown: str, progress: Progress) -> ImageFiles:
    if os.path.isfile(os.path.join(root, "dataset_dict.json")):
        parts = [os.path.dirname(part) for part in glob("*/", root_dir=root)]
        if not parts:
            raise UsageError(f"{shown} has a dataset_dict.json and nothing beside: save or copy it again")
        return _open_folder(os.path.join(root, only_split(parts, shown)), shown, progress)
    if os.path.isfile(os.path.join(root, "state.json")):
        return open_tables(sorted(map(str, Path(root).glob("*.arrow"))), shown, progress)
    files, unread = walk(root)
    shards = [os.path.join(root, name) for name in _shards(files)]
    return (open_shards(shards, shown, progress) if shards else None) or open_names(root, files, shown, unread)


def _shards(files: Names) -> list[str]:
    """The shards in a folder that holds no images itself."""
    if images_among(files).any():
        return []
    found = files.where(files.match(rf"({'|'.join(map(re.escape, SHARDS))})\z"))
    return [found.raw(row) for row in range(len(found))]


def open_shards(paths: list[str], shown: str, progress: Progress) -> ImageFiles | None:
    """The images of archives or tables; None where the paths are not all of one such kind."""
    suffixes = {os.path.splitext(path)[1].lower() for path in paths}
    if suffixes == {".tar"} or all(map(is_compressed, paths)):
        return open_tars(paths, shown, progress)
    return open_tables(paths, shown, progress) if len(suffixes) == 1 and suffixes <= set(TABLES) else None


def open_names(root: str, files: Names, shown: str, unread: Skipped) -> ImageFiles:
    """The images among named files below a folder, local or not. Raises UsageError if there are none."""
    chosen, others = candidates(files, shown)
    names = files if len(chosen) == len(files) else files.take(chosen)
    Layout(names, wrapping_folders(names)).refuse_splits(shown)
    labels = Labels(*Layout(names).classes())
    if not labels.labels and not is_remote(root):
        labels = metadata_of(root, names)
    return ImageFiles(shown, Folder(root, names), names, *labels, on_one_line(unread) + others)
