"""Labels, numbers and lists of classes from columns beside images."""

import contextlib
import json
import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from openjepa.data.dataset import UNLABELLED, Columns
from openjepa.data.storage.names import printable

NONE = "(none)"  # of images without a value, in copies that older versions prepared
MISSING = ("", "nan", "<na>", NONE)  # texts that stand for no value, in any case of letters
DIGITS = 100  # of a label that is taken for a number
BETWEEN = ("|", ";")  # the classes of a cell that names several
MOST_TAGS, MOST_CELLS = 1000, 2**28  # different classes of such a column, and times its images


class Labels(NamedTuple):
    """int64 [n] and the names of its values, by label; and the columns that are no labels."""

    labels: dict[str, np.ndarray] = {}  # noqa: RUF012  neither is ever changed
    classes: dict[str, list[str]] = {}  # noqa: RUF012
    columns: Columns = Columns()


def labels_of(columns: Iterable[tuple[str, Sequence[Any], list[str] | None]]) -> Labels:
    """What the columns (name, n values, names of the values where these are numbers of classes) can be.

    A label is a text, a whole number or a truth value with at least two values, and at most one for each two images
    that have one: more are names, captions or measurements. An image without a value (None, NaN, an empty cell, a
    number outside of the names) is UNLABELLED.

    Numbers are columns of numbers, also those that are labels, unless they number classes. Tags are columns whose cells
    are lists of texts, or texts with | or ; between them, with at most one class for each two images.
    """
    found = Labels({}, {}, Columns())
    for name, values, names in columns:
        if any(isinstance(value, list | tuple | set | frozenset) for value in values) or _several(values, names):
            tags = _tags([_cell(value) for value in values])
            if tags:
                found.columns.tags[name], found.columns.tag_names[name] = tags
        numbers = None if names else _numbers(values)
        if numbers is not None:
            found.columns.numbers[name] = numbers
        coded = _coded(values, names)
        if coded:
            found.labels[name], found.classes[name] = coded
    return found


def _several(values: Sequence[Any], names: list[str] | None) -> bool:
    """Whether cells are texts of which some name several classes."""
    return names is None and any(isinstance(value, str) and _is_list(value) for value in values)


def _is_list(text: str) -> bool:
    return any(mark in text for mark in BETWEEN) or (text[:1] == "[" and text[-1:] == "]")


def _cell(value: Any) -> frozenset[str] | None:
    """The classes that a cell names; None for one without a value."""
    if isinstance(value, list | tuple | set | frozenset):
        return frozenset(printable(str(each)) for each in value)
    if not isinstance(value, str) or _missing(value, None):
        return None
    with contextlib.suppress(ValueError, RecursionError):
        listed = json.loads(value) if value[:1] == "[" else None
        if isinstance(listed, list):
            return frozenset(printable(str(each)) for each in listed)
    parts = value.replace(BETWEEN[1], BETWEEN[0]).split(BETWEEN[0])
    return frozenset(printable(part.strip()) for part in parts if part.strip())


def _tags(cells: list[frozenset[str] | None]) -> tuple[np.ndarray, list[str]] | None:
    names = sorted(frozenset().union(*filter(None, cells)), key=_natural)
    if not 2 <= len(names) <= min(MOST_TAGS, max(2, len(cells) // 2)) or len(names) * len(cells) > MOST_CELLS:
        return None
    place, tags = {name: at for at, name in enumerate(names)}, np.zeros((len(cells), len(names)), np.int8)
    for row, cell in enumerate(cells):
        if cell is None:
            tags[row] = UNLABELLED
        else:
            tags[row, [place[name] for name in cell]] = 1
    return tags, names


def _numbers(values: Sequence[Any]) -> np.ndarray | None:
    """Float64 [n] of a column of finite numbers, of which two differ; None for any other."""
    try:
        number = {value: _number(value) for value in set(values)}
    except (TypeError, ValueError, OverflowError):
        return None
    known = {value for value in number.values() if not math.isnan(value)}
    return np.array([number[value] for value in values]) if len(known) > 1 else None


def _number(value: Any) -> float:
    """NaN for no value. Raises ValueError for what is no finite number."""
    if _missing(value, None):
        return math.nan
    number = float(value) if isinstance(value, Real) or (isinstance(value, str) and len(value) <= DIGITS) else math.inf
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _coded(values: Sequence[Any], names: list[str] | None) -> tuple[np.ndarray, list[str]] | None:
    try:
        distinct = set(values)
    except TypeError:  # lists
        return None
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
