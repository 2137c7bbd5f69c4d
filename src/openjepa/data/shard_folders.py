"""Folders that look like shards: parts into which a data set was cut for storage, whose names say nothing of images."""

import re
from collections.abc import Mapping

LEAST, MANY = 10, 200  # folders
EVEN = 0.9  # images of the second smallest over those of the largest; the last shard may be smaller
WORDS = ("shard", "part", "chunk", "batch", "block", "bucket", "folder", "dir", "split")
NUMBERED = re.compile(r"(\D*)(\d{1,12})", re.ASCII)


def shard_lines(classes: Mapping[str, Mapping[str, int]], what_to_do: str) -> list[str]:
    """A line for the user where the classes of folders look like shards, with what to do then; else none.

    classes: images by class, by label, as `Summary` has them.
    """
    folders = classes.get("class", {})
    if not look_like_shards(folders):
        return []
    each = sorted(folders.values())[len(folders) // 2]
    return [
        f"note: {len(folders):,} folders of about {each:,} images each, named by numbers: are these shards and not "
        f"classes? {what_to_do}"
    ]


def look_like_shards(folders: Mapping[str, int]) -> bool:
    """Whether folders, with their numbers of images, are numbered one after the other and of one size.

    Classes may be numbered too: fewer than 200 folders count only where a word says so, or zeros fill up the numbers.
    """
    found = [NUMBERED.fullmatch(name) for name in folders]
    if len(folders) < LEAST or not all(found):
        return False
    names = [(match[1].lower(), match[2]) for match in found if match]
    numbers = sorted(int(digits) for _, digits in names)
    if len({word for word, _ in names}) > 1 or numbers[-1] - numbers[0] != len(numbers) - 1:
        return False
    filled = any(digits.startswith("0") and len(digits) > 1 for _, digits in names)
    named = any(word in names[0][0] for word in WORDS)
    sizes = sorted(folders.values())
    return (filled or named or len(folders) >= MANY) and sizes[1] >= EVEN * sizes[-1]
