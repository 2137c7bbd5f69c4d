"""Images in one array [N, H, W] or [N, H, W, C]: .npy, .npz and HDF5 files."""

import os
from pathlib import Path

import numpy as np

from openjepa.data.dataset import ImageFiles
from openjepa.data.sources.labels import Labels, labels_of
from openjepa.data.sources.registry import Progress
from openjepa.data.storage.array_files import READERS, ArrayInFile
from openjepa.data.storage.names import Names, printable
from openjepa.data.storage.remote import is_remote
from openjepa.data.storage.split_path import locate
from openjepa.data.storage.storage import Storage
from openjepa.errors import UsageError
from openjepa.safety.limits import MAX_ENTRIES

DTYPE_KINDS = "uif"


def takes(name: str) -> bool:
    return locate(name).suffix in READERS and not is_remote(name)


def open(name: str, progress: Progress = None) -> ImageFiles:
    """The images of an array, as FILE.npy, FILE.npz/NAME or FILE.h5/GROUP/NAME. Raises UsageError."""
    place = locate(name)
    rows, count, array, labels = open_arrays(place.file, place.inside)
    return ImageFiles(place.shown, rows, Names.numbered(array or Path(place.file).stem, count), *labels)


def open_arrays(file: str, inside: str) -> tuple[Storage, int, str, Labels]:
    """The images in a file of arrays, how many, what to call them, and the labels in arrays beside.

    `inside` names an array. Raises UsageError if there is none, if there are several and none is named, and for damage.
    """
    try:
        arrays = READERS[os.path.splitext(file)[1].lower()](file)
        name = _chosen(file, inside, arrays)
        count, prefix = arrays[name].shape[0], name.rpartition("_")[0]
        labels = labels_of(
            (other.removeprefix(prefix + "_"), np.ravel(array.values()).tolist(), None)
            for other, array in arrays.items()
            if _is_label(array, count) and other.startswith(prefix)
        )
        return arrays[name].rows(), count, name, labels
    except UsageError:
        raise
    except Exception as error:  # a damaged zip makes several libraries raise whatever they have
        reason = printable(str(error).split("\n")[0][:200])
        raise UsageError(f"{printable(file)} is not a readable file of arrays ({reason}): write it again") from error


def _chosen(file: str, inside: str, arrays: dict[str, ArrayInFile]) -> str:
    images = [name for name, array in arrays.items() if len(array.shape) in (3, 4) and array.dtype.kind in DTYPE_KINDS]
    fitting = [name for name in images if not inside or name == inside]
    shown = printable(file)
    if not fitting:
        named = printable(", ".join(f"{name} {array.shape}" for name, array in list(arrays.items())[:10]))
        what = f"no array of images called {printable(inside)}" if inside else "no array [N, H, W] or [N, H, W, C]"
        raise UsageError(f"{shown} has {what}: it holds {named or 'nothing'}")
    if len(fitting) > 1:
        raise UsageError(f"{shown} holds {printable(', '.join(fitting[:20]))}: name one, e.g. {shown}/{fitting[0]}")
    count = arrays[fitting[0]].shape[0]
    if not count:
        raise UsageError(f"no images in {shown}: {fitting[0]} is {arrays[fitting[0]].shape}")
    if count > MAX_ENTRIES.get():
        raise UsageError(f"{shown} has {count:,} images ({MAX_ENTRIES.words()})")
    return fitting[0]


def _is_label(array: ArrayInFile, count: int) -> bool:
    return array.shape in ((count,), (count, 1)) and array.dtype.kind in "uib"
