"""Images in a zip, or in one of its folders, read in place."""

import struct
import zipfile

from openjepa.data.dataset import ImageFiles
from openjepa.data.sources.registry import Progress
from openjepa.data.storage.layout import Layout, candidates, wrapping_folders
from openjepa.data.storage.names import Names, printable
from openjepa.data.storage.remote import is_remote
from openjepa.data.storage.split_path import locate
from openjepa.data.storage.storage import Zip, leaves, missing_inside, on_one_line
from openjepa.errors import UsageError


def takes(name: str) -> bool:
    place = locate(name)
    return place.suffix == ".zip" or (bool(place.file) and not is_remote(name) and zipfile.is_zipfile(place.file))


def open(name: str, progress: Progress = None) -> ImageFiles:
    """The images of a zip, as FILE.zip or FILE.zip/FOLDER. Raises OSError, UsageError."""
    place = locate(name)
    archive = Zip(place.file, place.inside + "/" * bool(place.inside))
    members = _members(archive, place.file)
    if place.inside and not members:
        whole = Zip(place.file)
        raise UsageError(missing_inside(map(whole.name, whole.members()), place.inside, place.file))
    if any(member.flag_bits & 1 for member in members):
        raise UsageError(f"{printable(place.file)} is encrypted: unpack it and give the folder")
    names = [archive.name(member) for member in members]
    outside = [(name, "points outside of the archive") for name in names if leaves(name)]
    found = Names.of(name for name in names if not leaves(name))
    chosen, others = candidates(found, place.shown)
    archive.names = found.take(chosen)
    layout = Layout(archive.names, wrapping_folders(archive.names))
    layout.refuse_splits(place.shown)
    return ImageFiles(place.shown, archive, archive.names, *layout.classes(), on_one_line(outside) + others)


def _members(archive: Zip, file: str) -> list[zipfile.ZipInfo]:
    try:
        return archive.members()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise UsageError(printable(f"{file} is not a readable zip ({error}): copy or pack it again")) from error
