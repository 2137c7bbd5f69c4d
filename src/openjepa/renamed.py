"""Old names and sets of settings: stored files are read silently, a user who gives an old name gets a notice."""

import os
from collections.abc import Mapping
from typing import Any

from openjepa.errors import UsageError, option, print_error

RENAMED = {"objective": "method", "mask_draws": "masks_per_image", "target_aspect": "target_aspect_ratio"}


def current_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a stored file under their current names."""
    return {RENAMED.get(name, name): value for name, value in settings.items()}


def given_names(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings given as keywords under their current names, with a notice for every old one."""
    for old in settings.keys() & RENAMED.keys():
        if settings.get(RENAMED[old]) is not None:
            raise UsageError(f"{option(old)} is now {option(RENAMED[old])}: give one of them")
        notify_renamed(old)
        settings = {name: value for name, value in settings.items() if name != RENAMED[old]}
    return current_names(settings)


def given_options(words: list[str]) -> list[str]:
    """The words of a command line with options under their current names, with a notice for every old one."""
    old_options = {option(old): old for old in RENAMED}
    current = []
    for word in words:
        name, equals, value = word.partition("=")
        if name in old_options:
            notify_renamed(old_options[name])
            word = option(RENAMED[old_options[name]]) + equals + value
        current.append(word)
    return current


def notify_renamed(old: str) -> None:
    """One line on stderr, of several processes from the first only."""
    if os.environ.get("RANK", "0") == "0":
        message = f"{option(old)} is now {option(RENAMED[old])}; the old name goes away in the next version"
        print_error(message)
