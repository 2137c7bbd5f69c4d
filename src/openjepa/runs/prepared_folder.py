"""The folder that `data prepare` writes: what it is for is written down first, so that it can be gone on with."""

import json
from dataclasses import asdict

from openjepa._version import __version__
from openjepa.config import option, unknown
from openjepa.data.prepare import SHARD_SUFFIXES, Shrinking
from openjepa.errors import UsageError
from openjepa.files import usage_error, write_json
from openjepa.runs.images import check_can_write
from openjepa.runs.start import fingerprint

FILE = "prepare.json"
FORMATS = ("jpg", "png")


def check_numbers(size: int, to: str, format_: str, quality: int, per_shard: int) -> None:
    """Raise UsageError for a setting that is not possible."""
    for name, value, allowed in (("to", to, SHARD_SUFFIXES), ("format", format_, FORMATS)):
        if value not in allowed:
            raise UsageError(unknown(option(name), value, tuple(allowed)))
    for name, value, good, allowed in (
        ("size", size, size >= 1, "1 or more"),
        ("quality", quality, 1 <= quality <= 100, "1 to 100"),
        ("per_shard", per_shard, per_shard >= 1, "1 or more"),
    ):
        if not good:
            raise UsageError(f"{option(name)} {value} is not possible: give {allowed}")


def claim(shrinking: Shrinking, source: str) -> int:
    """Make the folder, or find that it holds the same copy; how many files of it are there. Raises UsageError."""
    folder, now = shrinking.folder, describe(shrinking, source)
    check_can_write(folder / FILE)
    if not (folder / FILE).is_file():
        if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise UsageError(f"{folder} exists and is not empty: give another name")
        with usage_error(folder):
            write_json(folder / FILE, now)
        return 0
    try:
        then = json.loads((folder / FILE).read_text())
        then = {"pixel_format": then.get("reading"), **then}
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / FILE} is damaged ({error}): give another name") from error
    if changed := [name for name in now if name != "openjepa_version" and now[name] != then.get(name)]:
        raise UsageError(
            f"{folder} was begun with another {changed[0]} ({then.get(changed[0])}, now {now[changed[0]]}): "
            "give what was given then to go on, or another name"
        )
    return len(shrinking) - len(shrinking.missing())


def describe(shrinking: Shrinking, source: str) -> dict:
    """What decides every byte of the copy; JSON-able."""
    names = ("size", "to", "format", "quality", "per_shard")
    about = {"source": source, **{name: getattr(shrinking, name) for name in names}}
    about |= {"pixel_format": asdict(shrinking.dataset.pixel_format), "images": len(shrinking.dataset)}
    return about | {"paths": fingerprint(shrinking.dataset), "openjepa_version": __version__}


def size_in_words(shrinking: Shrinking) -> str:
    total = sum(shrinking.path(shard).stat().st_size for shard in range(len(shrinking)))
    return f"{len(shrinking):,} file{'s' * (len(shrinking) != 1)}, {total / 2**20:,.1f} MiB"
