"""The results of a comparison as a table: on the terminal, and as CSV."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from openjepa.console import NONE, show_parts
from openjepa.evaluation.judgement import in_words
from openjepa.evaluation.results import in_units
from openjepa.files import write_rows
from openjepa.studies.compare.conclusion import Record
from openjepa.studies.compare.study import Comparison

COLUMNS = ("method", "measure", "mean", "low", "high", "train_images", "test_images")


def show_results(records: Sequence[Record]) -> None:
    """A row a method or model, the best by the first task first, with the mean over seeds and its interval."""
    cells = {(record["model"], in_words(record)): "{}  {} to {}".format(*in_units(record)) for record in records}
    tasks = list(dict.fromkeys(task for _, task in cells))
    rows = [[name, *(cells.get((name, task), NONE) for task in tasks)] for name in dict.fromkeys(n for n, _ in cells)]
    if rows:
        show_parts(["", *tasks], rows, "in %, with 95 % interval")


def write_results(path: Path, study: Comparison, records: Sequence[Record]) -> None:
    """A row a method or model and task, in fractions, with a column for each seed. Raises UsageError."""
    write_rows(path, [*COLUMNS, *(f"seed {seed}" for seed in study.seeds)], _rows(study, records))


def _rows(study: Comparison, records: Sequence[Record]) -> Iterator[Sequence]:
    for record in records:
        name, protocol = record["model"], record["protocol"]
        trained = [trial.seed for trial in study.of(name)]
        by_seed = dict(zip(trained, protocol["values"], strict=True))
        numbers = [record[key] for key in ("value", "low", "high")] + [protocol[key] for key in COLUMNS[-2:]]
        yield [name, record["task"], *numbers, *(by_seed.get(seed, "") for seed in study.seeds)]
