"""Which file belongs to which image, by name: whole relative paths first, then as many last parts as agree."""

import os
from collections.abc import Sequence
from pathlib import PurePosixPath

from openjepa.data.storage.layout import SUFFIXES
from openjepa.errors import UsageError

Parts = tuple[str, ...]


def match_names(paths: Sequence[str], names: Sequence[str], what: str) -> dict[str, str]:
    """Of `names`, the one that belongs to each of `paths`; those without are left out. Suffixes of images do not count.

    Equal relative paths belong together; else those with the most equal parts at the end, of which the folder must be
    one where any two are equal in theirs. Raises UsageError, naming both, where two are equally near; `what` the names
    are of is for its message.
    """
    whole = _by_key(names, what)
    asked = {path: key_of(path) for path in paths}
    matched = {path: whole[key] for path, key in asked.items() if key in whole}
    _refuse_shared(matched)
    used = set(matched.values())
    rest = {name: key for key, name in whole.items() if name not in used}
    ends = _by_end(rest)
    found = {path: _longest(asked[path], ends) for path in asked if path not in matched}
    nested = any(len(asked[path]) > 1 for path in matched) or any(len(end) > 1 for end in found.values())
    closest: dict[str, tuple[int, str]] = {}
    for path, end in found.items():
        near = [n for n in ends.get(end, ()) if not nested or len(end) > 1 or 1 in (len(asked[path]), len(rest[n]))]
        if len(near) > 1:
            raise _ambiguous(path, near, what)
        for name in near:
            length, other = closest.get(name, (0, ""))
            if length == len(end):
                raise _ambiguous(name, [other, path], "images")
            closest[name] = max((length, other), (len(end), path))
    return matched | {path: name for name, (_, path) in closest.items()}


def key_of(name: str) -> Parts:
    """The parts of a path without its suffix."""
    whole = PurePosixPath(name.replace(os.sep, "/"))
    if whole.suffix.lower() in (*SUFFIXES, ".npy"):
        whole = whole.with_suffix("")
    return tuple(part for part in whole.parts if part != "/") or ("",)


def _by_key(names: Sequence[str], what: str) -> dict[Parts, str]:
    found: dict[Parts, str] = {}
    for name in names:
        other = found.setdefault(key_of(name), name)
        if other != name:
            raise UsageError(f"{other} and {name} are both of one image among the {what}: leave one out")
    return found


def _refuse_shared(matched: dict[str, str]) -> None:
    """Raise UsageError where two images differ in their suffix alone."""
    owner: dict[str, str] = {}
    for path, name in matched.items():
        other = owner.setdefault(name, path)
        if other != path:
            raise _ambiguous(name, [other, path], "images")


def _by_end(names: dict[str, Parts]) -> dict[Parts, list[str]]:
    """Up to two names for each end of their parts: two are enough to know that there is more than one."""
    ends: dict[Parts, list[str]] = {}
    for name, key in names.items():
        for start in range(len(key)):
            known = ends.setdefault(key[start:], [])
            if len(known) < 2:
                known.append(name)
    return ends


def _longest(key: Parts, ends: dict[Parts, list[str]]) -> Parts:
    """The longest end of a key that some name has; empty if there is none."""
    return next((key[start:] for start in range(len(key)) if key[start:] in ends), ())


def _ambiguous(one: str, others: Sequence[str], what: str) -> UsageError:
    return UsageError(
        f"{one} matches {' and '.join(others)} equally well among the {what}: give files and images the same folders, "
        "so that relative paths tell them apart"
    )
