"""What a list of file names says: which may be images, which folders are classes, which are splits."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import takewhile

import numpy as np

from openjepa.data.storage import Skipped, printable
from openjepa.errors import UsageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".dcm", ".npy")
ARRAY = ".npy"
TRAIN = ("train", "training")
HELD_OUT = ("val", "valid", "validation", "test", "testing")


def candidates(files: Iterable[str], shown: str) -> tuple[list[str], Skipped]:
    """Names that may be images, sorted and each once; the others with the reason. UsageError if there are none.

    Arrays (.npy) are images where nothing else is: beside pictures they are something about them.
    """
    names, skipped, counts = [], [], Counter(files)
    pictures = [suffix for suffix in SUFFIXES if suffix != ARRAY]
    suffixes = pictures if any(_suffix(name) in pictures for name in counts) else SUFFIXES
    for name in sorted(counts):
        if _suffix(name) in suffixes:
            names.append(name)
            skipped += [(name, "named twice")] * (counts[name] - 1)
        else:
            skipped.append((name, f"not an image ({_suffix_words(name)})"))
    if not names:
        raise UsageError(_no_images(shown, list(counts)))
    return names, skipped


def wrapping_folders(names: Sequence[str]) -> str:
    """The folders around all names, as "a/b/"; "" if there are none."""
    folders = [name.split("/")[:-1] for name in names]
    # In sorted order, what the first and the last share is shared by all between them.
    pairs = zip(min(folders), max(folders), strict=False)
    return "".join(first + "/" for first, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def refuse_splits(names: Sequence[str], shown: str) -> None:
    """Raises UsageError if a top folder is a validation or test set and there is another top folder."""
    tops = sorted(
        {name.split("/")[0] for name in names if "/" in name}, key=lambda top: (top.lower() not in TRAIN, top)
    )
    if len(tops) > 1 and any(top.lower() in HELD_OUT for top in tops):
        choices = ", ".join(tops[:5]) + ", ..." * (len(tops) > 5)
        raise UsageError(printable(f"{shown} holds {choices}: name one, e.g. {shown}/{tops[0]}"))


def class_folders(names: Sequence[str]) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """({"class": int64 [n]}, {"class": folder names}); ({}, {}) unless all lie one deep, in at least two folders."""
    tops = sorted({name.split("/")[0] for name in names})
    if len(tops) < 2 or any(name.count("/") != 1 for name in names):
        return {}, {}
    index = {top: number for number, top in enumerate(tops)}
    labels = np.array([index[name.split("/")[0]] for name in names], dtype=np.int64)
    return {"class": labels}, {"class": [printable(top) for top in tops]}


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _suffix_words(name: str) -> str:
    return f"suffix {_suffix(name)}" if _suffix(name) else "no suffix"


def _no_images(shown: str, files: Sequence[str]) -> str:
    kinds = Counter(_suffix(name) or "no suffix" for name in files).most_common(5)
    found = ", ".join(f"{suffix} {count:,}" for suffix, count in kinds)
    files_found = f"found {len(files):,} file{'s' * (len(files) != 1)}" + (f" ({found})" if found else "")
    return printable(f"no images in {shown}: {files_found}; openjepa reads JPEG, PNG, WebP, BMP, TIFF, DICOM and .npy")
