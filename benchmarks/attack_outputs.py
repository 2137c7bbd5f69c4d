"""What the files and lines that an attacked command leaves must not hold."""

import csv
import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

LARGE = 2**20
WRITABLE = (
    "run",
    "begun",
    "study",
    "tuned",
    "comparison",
    "index",
    "taken",
)  # commands keep results in these, in all but the encoder or head
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
FORMULA = re.compile(r"^[=+@\t\r＝＋－＠]|^-[^\d.]")
OURS = re.compile(r"openjepa: |Traceback|Exception|\s|.*\.py\b")  # lines of Python; libtiff writes some of its own
OWN = '<script type="module" src="page.js">'  # of the page that `export --to web` writes
MARKUP = re.compile(r"<script|<iframe|<object|javascript:|\son\w+\s*=|(src|href)=[\"']?(?!data:|#)[a-z]+:", re.I)
CARD = re.compile(r"<script|(?<!\\)!\[|^evil:|^\s*- evil", re.M)


def hashes(folder: Path) -> dict[str, str]:
    """Each file below a folder with its content: a hash or, of large ones, size and time."""
    found = {}
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode):
                continue
            if status.st_size > LARGE:
                found[path] = f"{status.st_size} {status.st_mtime_ns}"
            else:
                with open(path, "rb") as stream:
                    found[path] = hashlib.sha256(stream.read()).hexdigest()
    return found


def changed(folder: Path, known: dict[str, str]) -> list[str]:
    """A finding for every input that is not as it was, in a run or study of an encoder; what is added is no fault.

    A comparison that is resumed trains again what its record does not hold, and so replaces encoders of its own runs.
    """
    now = hashes(folder)
    found = (os.path.relpath(path, folder) for path in known if now.get(path) != known[path])
    wrong = [name for name in found if not writable(name)]
    return [f"changed an input: {name}" for name in wrong[:5]]


def writable(name: str) -> bool:
    """Whether commands may change a file, named relative to the folder of inputs."""
    encoder = "/encoder/" in name or "/model/" in name
    return name.split("/")[0] in WRITABLE and (not encoder or name.startswith("comparison/trials/"))


def printed(out: str, err: str, code: int) -> list[str]:
    """Findings in what was printed on stdout and stderr."""
    found = []
    for name, text in (("stdout", out), ("stderr", err)):
        raw = CONTROL.search(text)
        if raw:
            found.append(f"printed raw: {raw[0]!r} on {name}: {text[max(0, raw.start() - 60) : raw.end() + 20]!r}")
    if code != 70 and "Traceback (most recent call last)" in err:
        found.append(f"traceback: printed with exit code {code}: {err.strip().splitlines()[-1][:300]}")
    lines = [line for line in err.splitlines() if OURS.match(line)]
    if code == 2 and (len(lines) != 1 or not lines[0].startswith("openjepa: ")):
        found.append(f"noise: {len(lines)} lines on stderr: {err[:300]!r}")
    if code == 0 and lines:
        found.append(f"noise: {len(lines)} lines on stderr: {err[:300]!r}")
    return found


def written(folder: Path) -> Iterator[str]:
    """Findings in the files below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".writing-") or ".writing-" in str(path.parent):
            yield f"left a part: {path.relative_to(folder)}"
        elif path.is_file() and not path.is_symlink() and path.suffix in CHECKS:
            for finding in CHECKS[path.suffix](path):
                yield f"{finding} ({path.relative_to(folder)})"


def _page(path: Path) -> Iterator[str]:
    text = path.read_text("utf-8", "replace")
    for tag in re.findall(r"<[^>]*>", text):
        if MARKUP.search(tag) and tag != OWN:
            yield f"markup: {tag[:200]!r}"
    if raw := CONTROL.search(text):
        yield f"raw character in a page: {raw[0]!r}"


def _table(path: Path) -> Iterator[str]:
    with path.open(newline="", encoding="utf-8", errors="replace") as stream:
        for row in csv.reader(stream):
            yield from (f"formula: {cell[:100]!r}" for cell in row if FORMULA.match(cell))


def _card(path: Path) -> Iterator[str]:
    if found := CARD.search(path.read_text("utf-8", "replace")):
        yield f"markup in a card: {found[0]!r}"


def _json(path: Path) -> Iterator[str]:
    try:
        json.loads(path.read_text("utf-8", "replace"), parse_constant=_no_constant)
    except ValueError as error:
        yield f"no JSON: {str(error)[:200]}"


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _vectors(path: Path) -> Iterator[str]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    if "vector" in table.column_names and not all(
        math.isfinite(value) for row in table["vector"].to_pylist()[:50] for value in row
    ):
        yield "vectors that are not finite"


CHECKS = {".html": _page, ".csv": _table, ".md": _card, ".json": _json, ".parquet": _vectors}
