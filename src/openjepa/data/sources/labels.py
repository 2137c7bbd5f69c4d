"""Labels from columns beside images."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from openjepa.data.storage.names import printable

NONE = "(none)"
DIGITS = 100  # of a label that is taken for a number
Labels = tuple[dict[str, np.ndarray], dict[str, list[str]]]  # int64 [n] and the names of its values, by label


def labels_of(columns: Iterable[tuple[str, Sequence[Any], list[str] | None]]) -> Labels:
    """The columns (name, n values, names of the values where these are numbers of classes) that can be labels.

    A label is a text, a whole number or a truth value with at least two values, and at most one for each two images:
    more are names, captions or measurements. An image without a value is of the class "(none)".
    """
    labels, classes = {}, {}
    for name, values, names in columns:
        coded = _coded(values, names)
        if coded:
            labels[name], classes[name] = coded
    return labels, classes


def _coded(values: Sequence[Any], names: list[str] | None) -> tuple[np.ndarray, list[str]] | None:
    distinct = set(values)
    if not all(isinstance(value, str | int | np.integer | None) for value in distinct):
        return None
    if names is None and not 2 <= len(distinct - {None, ""}) <= max(2, len(values) // 2):
        return None
    if names is not None and all(value is not None and 0 <= value < len(names) for value in distinct):
        return np.array(values, np.int64), [printable(name) for name in names]
    texts = {value: _text(value, names) for value in distinct}
    order = sorted(set(texts.values()) - {NONE}, key=_natural) + [NONE] * (NONE in texts.values())
    number = {text: place for place, text in enumerate(order)}
    return np.array([number[texts[value]] for value in values], np.int64), order


def _text(value: Any, names: list[str] | None) -> str:
    if value in (None, "") or (names is not None and not 0 <= value < len(names)):
        return NONE
    return printable(str(value) if names is None else names[value])


def _natural(text: str) -> tuple[bool, int, str]:
    """Numbers by size, before all else."""
    is_number = text.isascii() and len(text) <= DIGITS and text.removeprefix("-").isdecimal()
    return not is_number, int(text) if is_number else 0, text
