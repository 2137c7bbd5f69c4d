"""Read the record of a run: metrics.jsonl, one JSON object a line."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa

from openjepa.errors import UsageError

LOG = "metrics.jsonl"
LARGEST = 2**53
WORDS = {"status", "verdict", "advice"}  # what is text in a record; all else are numbers
RENAMED = {"positional_share": "positional_fraction"}  # old names of metrics in stored files


def current_metrics(record: dict) -> dict:
    """A stored record under the names that metrics have now."""
    return {RENAMED.get(name, name): value for name, value in record.items()}


def read_metrics(folder: str | os.PathLike[str]) -> list[dict]:
    """The records of a run in order; lines and values that a crash cut short or damaged are left out. UsageError."""
    return [record for record in map(_record, read_lines(Path(folder, "metrics.jsonl"))) if record]


def metrics_table(folder: Path) -> pa.Table:
    """The records of a run as a table with a row each: step int64, words as text, all else float64, null if absent."""
    records = read_metrics(folder)
    names = dict.fromkeys(["step", *(name for record in records for name in record)])
    kinds = {"step": pa.int64()} | dict.fromkeys(WORDS, pa.string())
    schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in names])
    return pa.Table.from_pylist(records, schema)


def read_lines(path: Path) -> list[str]:
    """The lines of a log, none if it is not there. Raises UsageError for a pipe, a device or a folder."""
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is not a regular file: delete it")
    return path.read_text(errors="replace").splitlines() if path.exists() else []


def _record(line: str) -> dict | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    fitted = {name: value for name, value in current_metrics(record).items() if _fits(name, value)}
    if "status" not in fitted:
        fitted = {name: value for name, value in fitted.items() if name not in WORDS}  # they are shown together
    return fitted if isinstance(fitted.get("step"), int) and fitted["step"] >= 0 else None


def _fits(name: str, value: Any) -> bool:
    """Whether a value is what records hold under a name: text, or a finite number that a chart can show."""
    if name in WORDS:
        return isinstance(value, str)
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST
    return number and (name != "images_per_second" or value > 0)
