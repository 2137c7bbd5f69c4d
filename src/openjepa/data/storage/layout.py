"""Which of many file names may be images, which folders are classes, and which are splits."""

import os
from collections import Counter
from collections.abc import Sequence
from itertools import takewhile

import numpy as np
import pyarrow.compute as pc

from openjepa.data.storage.names import Names, printable
from openjepa.data.storage.storage import NO_IMAGE, Skipped
from openjepa.errors import UsageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".dcm", ".npy")
ARRAY = ".npy"
PICTURES = rf"(?i)\.({'|'.join(suffix[1:] for suffix in SUFFIXES if suffix != ARRAY)})\z"
ARRAYS = rf"(?i)\{ARRAY}\z"
TRAIN = ("train", "training")
HELD_OUT = ("val", "valid", "validation", "test", "testing")
LISTED = 1000  # files that are no images, beyond which they are only counted


def is_image(name: str) -> bool:
    return _suffix(name) in SUFFIXES


def images_among(files: Names) -> np.ndarray:
    """Which names may be images: bool [n]. Arrays (.npy) where nothing else is; beside pictures they are about them."""
    pictures = files.match(PICTURES)
    return pictures if pictures.any() else files.match(ARRAYS)


def candidates(files: Names, shown: str) -> tuple[np.ndarray, Skipped]:
    """Which of the names may be images: their indices, sorted by name and each name once; the others with the reason.

    Raises UsageError if there are none.
    """
    usable = images_among(files)
    order = files.order()
    order = order[usable[order]]
    if not len(order):
        raise UsageError(_no_images(shown, files))
    ordered = files.take(order)
    repeated = np.zeros(len(order), bool)
    repeated[1:] = pc.equal(ordered.array[1:], ordered.array[:-1]).to_numpy(zero_copy_only=False)
    skipped = [(files[int(row)], "named twice") for row in order[repeated]]
    return order[~repeated], skipped + _others(files.where(~usable))


def _others(others: Names) -> Skipped:
    first = sorted(set(others[:LISTED]))
    listed = [(name, f"{NO_IMAGE} ({_suffix_words(name)})") for name in first]
    rest = others[LISTED:]
    return listed + ([("...", f"{NO_IMAGE} ({len(rest):,} more: {_kinds(rest)})")] if len(rest) else [])


def wrapping_folders(names: Names) -> str:
    """The folders around all names, as "a/b/"; "" if there are none."""
    # In sorted order, all names between the first and the last have their common prefix.
    ends = [os.fsdecode(name).split("/")[:-1] for name in pc.min_max(names.array).as_py().values()]
    pairs = zip(*ends, strict=False)
    return "".join(first + "/" for first, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


class Layout:
    """The folders that names lie in, below the folders `wrapper` around all of them.

    depth int64 [n] of folders around each; codes int64 [n] into `tops`, the topmost, or the file itself.
    """

    def __init__(self, names: Names, wrapper: str = "") -> None:
        self.wrapper = wrapper
        self.depth = names.occurrences("/") - wrapper.count("/")
        self.codes, self.tops = names.behind(len(os.fsencode(wrapper))).replace("(?s)/.*", "").codes()

    def refuse_splits(self, shown: str) -> None:
        """Raises UsageError if a top folder is a validation or test set and there is another top folder."""
        tops = [self.tops[code] for code in np.unique(self.codes[self.depth > 0])]
        if any(top.lower() in HELD_OUT for top in tops):
            only_split(tops, f"{shown}/{printable(self.wrapper)}".rstrip("/"))

    def classes(self) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
        """({"class": int64 [n]}, {"class": folder names}); ({}, {}) unless all lie one deep, in at least two."""
        if len(self.tops) < 2 or (self.depth != 1).any():
            return {}, {}
        return {"class": self.codes}, {"class": self.tops}


def only_split(parts: Sequence[str], shown: str) -> str:
    """The one part of a data set; raises UsageError if there are several, of which the user must name one."""
    parts = sorted(parts, key=lambda part: (part.lower() not in TRAIN, part))
    if len(parts) == 1:
        return parts[0]
    choices = ", ".join(parts[:5]) + ", ..." * (len(parts) > 5)
    raise UsageError(
        printable(f"{shown} holds {choices}: name one, e.g. {shown}/{parts[0]}") if parts else f"{shown} is empty"
    )


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _suffix_words(name: str) -> str:
    return f"suffix {_suffix(name)}" if _suffix(name) else "no suffix"


def _kinds(files: Names) -> str:
    kinds = Counter(_suffix(name) or "no suffix" for name in files).most_common(5)
    return ", ".join(f"{suffix} {count:,}" for suffix, count in kinds)


def _no_images(shown: str, files: Names) -> str:
    found = f"found {len(files):,} file{'s' * (len(files) != 1)}" + (f" ({_kinds(files)})" if len(files) else "")
    return printable(f"no images in {shown}: {found}; openjepa reads JPEG, PNG, WebP, BMP, TIFF, DICOM and .npy")
