"""Images in a zip, or in one of its folders, read in place."""

import zipfile

import numpy as np

from openjepa.data.dataset import ImageFiles
from openjepa.data.sources.registry import Progress
from openjepa.data.storage.layout import Layout, candidates, wrapping_folders
from openjepa.data.storage.remote import is_remote
from openjepa.data.storage.split_path import locate
from openjepa.data.storage.storage import LEAVES, missing_inside, on_one_line
from openjepa.data.storage.zip_members import read_zip
from openjepa.errors import UsageError


def takes(name: str) -> bool:
    place = locate(name)
    return place.suffix == ".zip" or (bool(place.file) and not is_remote(name) and zipfile.is_zipfile(place.file))


def open(name: str, progress: Progress = None) -> ImageFiles:
    """The images of a zip, as FILE.zip or FILE.zip/FOLDER. Raises OSError, UsageError."""
    place = locate(name)
    archive = read_zip(place.file, place.inside + "/" * bool(place.inside))
    if place.inside and not len(archive.names):
        raise UsageError(missing_inside(read_zip(place.file).names, place.inside, place.file))
    leaving = archive.names.match(LEAVES)
    outside = [(archive.names[int(row)], "points outside of the archive") for row in np.flatnonzero(leaving)]
    inner = archive.take(np.flatnonzero(~leaving))
    chosen, others = candidates(inner.names, place.shown)
    images = inner.take(chosen)
    layout = Layout(images.names, wrapping_folders(images.names))
    layout.refuse_splits(place.shown)
    return ImageFiles(place.shown, images, images.names, *layout.classes(), skipped=on_one_line(outside) + others)
