"""Labels from columns beside images."""

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from openjepa.data.dataset import UNLABELLED
from openjepa.data.storage.names import printable

NONE = "(none)"  # of images without a value, in copies that older versions prepared
MISSING = ("", "nan", "<na>", NONE)  # texts that stand for no value, in any case of letters
DIGITS = 100  # of a label that is taken for a number
Labels = tuple[dict[str, np.ndarray], dict[str, list[str]]]  # int64 [n] and the names of its values, by label


def labels_of(columns: Iterable[tuple[str, Sequence[Any], list[str] | None]]) -> Labels:
    """The columns (name, n values, names of the values where these are numbers of classes) that can be labels.

    A label is a text, a whole number or a truth value with at least two values, and at most one for each two images
    that have one: more are names, captions or measurements. An image without a value (None, NaN, an empty cell, a
    number outside of the names) is UNLABELLED.
    """
    labels, classes = {}, {}
    for name, values, names in columns:
        coded = _coded(values, names)
        if coded:
            labels[name], classes[name] = coded
    return labels, classes


def _coded(values: Sequence[Any], names: list[str] | None) -> tuple[np.ndarray, list[str]] | None:
    distinct = set(values)
    names = names[:-1] if names and names[-1] == NONE else names
    known = {value for value in distinct if not _missing(value, names)}
    # A column of whole numbers becomes one of floating-point numbers where it lacks some.
    if not all(_whole(value, lacking=len(known) < len(distinct)) for value in known):
        return None
    if names is not None:
        number: dict[Any, int] = {value: int(value) for value in known}
        return (_numbered(values, number), [printable(name) for name in names]) if known else None
    labelled = sum(value in known for value in values)
    if not 2 <= len(known) <= max(2, labelled // 2):
        return None
    texts = {value: printable(str(int(value) if isinstance(value, float) else value)) for value in known}
    order = sorted(set(texts.values()), key=_natural)
    place = {text: at for at, text in enumerate(order)}
    return _numbered(values, {value: place[text] for value, text in texts.items()}), order


def _numbered(values: Sequence[Any], number: dict[Any, int]) -> np.ndarray:
    return np.array([number.get(value, UNLABELLED) for value in values], np.int64)


def _missing(value: Any, names: list[str] | None) -> bool:
    if names is not None:
        return not (isinstance(value, Real) and 0 <= float(value) < len(names))
    return value.strip().lower() in MISSING if isinstance(value, str) else value is None or value != value


def _whole(value: Any, lacking: bool) -> bool:
    """Whether a value can be a class."""
    if isinstance(value, float | np.floating):
        return lacking and float(value).is_integer()
    return isinstance(value, str | Integral | np.bool_)


def _natural(text: str) -> tuple[bool, int, str]:
    """Numbers by size, before all else."""
    is_number = text.isascii() and len(text) <= DIGITS and text.removeprefix("-").isdecimal()
    return not is_number, int(text) if is_number else 0, text
