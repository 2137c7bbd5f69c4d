"""What a pattern stands for: shards of one kind, or images and folders of images."""

import os
import re

from openjepa.data.dataset import ImageFiles
from openjepa.data.sources.folder import open_names, open_shards
from openjepa.data.sources.registry import Progress, known
from openjepa.data.storage.listing import walk
from openjepa.data.storage.names import Names, joined
from openjepa.data.storage.remote import NOT_REGULAR, expand, has_magic, is_remote
from openjepa.data.storage.split_path import locate
from openjepa.data.storage.storage import Skipped
from openjepa.errors import UsageError


def takes(name: str) -> bool:
    return has_magic(name) and not os.path.lexists(os.path.expanduser(name))


def open(name: str, progress: Progress = None) -> ImageFiles:
    """The images of all that matches *, ?, [...], {a,b} and {00..99}. Raises OSError, UsageError."""
    shown, pattern = locate(name).shown, name if is_remote(name) else os.path.expanduser(name)
    paths = expand(pattern)
    if not paths:
        raise UsageError(f"nothing matches {shown}: give one of: {known()}")
    special = [] if is_remote(pattern) else list(filter(_is_special, paths))
    usable = [path for path in paths if path not in set(special)] if special else paths
    return (open_shards(usable, shown, progress) if usable else None) or _open_mixed(usable, pattern, shown, special)


def _is_special(path: str) -> bool:
    """Whether it is a pipe, a socket or a device."""
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


def _open_mixed(paths: list[str], pattern: str, shown: str, special: list[str]) -> ImageFiles:
    root = os.path.dirname(re.split(r"[*?\[{]", pattern)[0])
    root = root if is_remote(root) else os.path.abspath(root)
    names: list[Names] = []
    unread: Skipped = [(os.path.relpath(path, root), NOT_REGULAR) for path in special]
    for path in paths:
        inner = path.removeprefix(root + "/") if is_remote(path) else os.path.relpath(path, root)
        if not os.path.isdir(path):
            names.append(Names.of([inner]))
            continue
        found, bad = walk(path)
        names.append(found.below(inner + "/"))
        unread += [(f"{inner}/{name}", reason) for name, reason in bad]
    return open_names(root, joined(names), shown, unread)
