"""The outputs of `evaluate`: a table, files, a head, and sentences on which of two models is better."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from openjepa.console import Bold, fits, log, show_table
from openjepa.encoder.baselines import has_first_weights
from openjepa.encoder.cropped import Cropped
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import Model
from openjepa.errors import UsageError
from openjepa.evaluation.judgement import (
    LOWER_IS_BETTER,
    SEVERAL_MEASURES,
    Judgement,
    classes_in_words,
    constant_sentence,
    in_words,
    is_baseline,
    is_merit,
    judge,
    listed,
    metric_of,
    verdicts_of,
)
from openjepa.evaluation.results import in_units, row_name, with_measure
from openjepa.evaluation.session import Session
from openjepa.files import check_output, write_output
from openjepa.files.tables import write_lists
from openjepa.files.workbook import check_xlsx
from openjepa.interop.heads import write_head
from openjepa.interop.open_model import is_folder
from openjepa.runs.checkpoints import file_at
from openjepa.runs.evaluation import CONTEXT, is_run
from openjepa.runs.folder import EVALUATION
from openjepa.runs.images import check_new_folder
from openjepa.runs.settings import CONFIG, read_config

UNSHAPING = ("seed", "time", "device", "workers", "log_every", "checkpoint_minutes", "keep_every")


@dataclass(frozen=True)
class Outputs:
    """Where the user wants the records, the table, the page and the head, if anywhere."""

    json: Path | None = None
    csv: Path | None = None
    xlsx: Path | None = None
    page: Path | None = None
    head: Path | None = None

    def check(self, models: Sequence[str], data: Sequence[str], overwrite: bool = False) -> None:
        """Raise UsageError, before the work, where something may not or cannot be written."""
        paths = [path for path in (self.json, self.csv, self.xlsx, self.page) if path]
        for path in paths:
            check_output(path, models, overwrite, data)
        if len({path.resolve() for path in paths}) < len(paths):
            raise UsageError("--json, --csv, --xlsx and --page name the same file: give each its own")
        check_xlsx(self.xlsx)
        if self.head:
            check_new_folder(self.head, "give --save-head another name")

    def check_models(self, models: Sequence[Model]) -> None:
        if self.head and not any(isinstance(model, Encoder) for model in models):
            raise UsageError("--save-head needs an encoder: name a run, an artifact or a model of another library")
        last = models[-1]
        if self.head and isinstance(last, Encoder) and not has_first_weights(last):
            raise UsageError(f"{last.name} holds a network of your own, which no head can be stored with: leave it out")

    def write(
        self,
        records: list[dict],
        sessions: Sequence[Session],
        names: Sequence[str],
        tasks: Sequence[str],
        steps: Mapping[str, int] = {},
    ) -> None:
        """Write all but the page. A run that was measured keeps the records in its folder too, those of a step apart.

        steps: of which checkpoint a run was measured, by its name.
        """
        asked = [self.json] if self.json else []
        runs = [name for name in names if name in steps or is_run(name)]
        for path in asked + [Path(name) / file_at(EVALUATION, steps.get(name)) for name in runs]:
            write_records(path, records)
        _write_numbers(self.csv, self.xlsx, records)
        if self.head:
            write_head(self.head, head_session(sessions), tasks)


def head_session(sessions: Sequence[Session]) -> Session:
    """That of the last encoder, of the target encoder where both were measured."""
    encoders = [session for session in sessions if isinstance(session.model, Encoder)]
    found = [session for session in encoders if not isinstance(session.model, Cropped)]
    return ([session for session in found if not session.model.name.endswith(CONTEXT)] or found)[-1]


def show_records(records: Sequence[dict]) -> None:
    """The table: each number with its 95 % interval, in percent or in named units.

    A row a task and a column a model or, where that is wider than the terminal, the models of each task in rows.
    """
    models = list(dict.fromkeys(record["model"] for record in records))
    title = "accuracy in %, with 95 % interval"
    if {record["metric"] for record in records} != {"accuracy"}:
        title = "in %, with 95 % interval; accuracy unless another measure is named"
    if {metric_of(record) for record in records} & set(LOWER_IS_BETTER):
        title += "; of errors less is better"
    rows = []
    for task in dict.fromkeys(record["task"] for record in records):
        row = {record["model"]: record for record in records if record["task"] == task}
        cells = [_cell(row[model], list(row.values())) if model in row else "–" for model in models]
        rows.append([_row_name(next(iter(row.values()))), *cells])
    head = ["", *(_short(model, models) for model in models)]
    if not fits(head, rows):
        head, rows = [""] * 2, list(_upright(head[1:], rows))
    show_table(head, rows, title, right=True)
    log(*classes_in_words(records))


def _upright(models: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """Each row of a table as several: its name, then a row for each model that has a number."""
    for name, *cells in rows:
        yield [name, ""]
        yield from ([f"  {model}", cell] for model, cell in zip(models, cells, strict=True) if cell != "–")


def _row_name(record: dict) -> str:
    """Shorter than in sentences: tasks as --tasks names them. Several measures of a task are told apart."""
    if record["task"] in SEVERAL_MEASURES:
        return row_name(record)
    kind = record.get("protocol", {}).get("kind")
    return with_measure(record["task"].replace(":", " ") + (f" of {kind}" if kind else ""), record)


def _short(model: str, models: Sequence[str]) -> str:
    """The last part of the name of a model in a folder, where no other model's name ends so."""
    short = sum(Path(other).name == Path(model).name for other in models) == 1 and is_folder(model)
    return Path(model).name if short else model


def _cell(record: dict, others: list[dict]) -> str:
    """Bold where the number is better than those of all other models."""
    value, low, high = in_units(record)
    text = f"{value}  {low} to {high}"
    best = all(judge(record, other) is Judgement.BETTER for other in others if other is not record)
    return Bold(text) if best and len(others) > 1 else text


def write_records(path: Path, records: list[dict]) -> None:
    """Write records as JSON; raises UsageError if the file cannot be written."""
    write_output(path, json.dumps(records, indent=2) + "\n")


def _write_numbers(csv: Path | None, xlsx: Path | None, records: Sequence[dict]) -> None:
    """Write the numbers as a table, a row a model and task; raises UsageError if a file cannot be written."""
    keys = ("model", "data", "task", "metric", "value", "low", "high")
    settings = ("kind", "train_images", "test_images", "test", "interval")
    rows = [[r[key] for key in keys] + [r["protocol"].get(key, "") for key in settings] for r in records]
    write_lists(csv, xlsx, [*keys, *settings], rows)


def runs_by_seed(names: Sequence[str]) -> list[list[str]]:
    """Runs among `names` that differ in their seed and nothing else that shapes an encoder, where there are several."""
    alike: dict[str, dict[int, str]] = {}
    for name in dict.fromkeys(filter(is_run, names)):
        config, stored = read_config(Path(name) / CONFIG, "repair it, or leave this run out")
        shaping = {key: value for key, value in dataclasses.asdict(config).items() if key not in UNSHAPING}
        kind = repr([shaping, stored.steps, stored.data, stored.paths])
        alike.setdefault(kind, {}).setdefault(config.seed, name)
    return [list(runs.values()) for runs in alike.values() if len(runs) > 1]


def make_verdicts(records: Sequence[dict], names: Sequence[str]) -> list[str]:
    """Sentences for the terminal and the page.

    One on each model beside the baselines, one for each model of which both encoders were measured, one where exactly
    two were named that are no baselines, and one on the measures by which no model is better than the constant.
    """
    measured = {record["model"] for record in records}
    both = [comparison(records, name, name + CONTEXT) for name in names if {name, name + CONTEXT} <= measured]
    shown = [name if name in measured else name + CONTEXT for name in names]
    two = len(shown) == 2 and not any(map(is_baseline, shown))
    pair = [comparison(records, *shown)] if two else []
    return verdicts_of(records) + both + pair + constant_sentence(records)


def comparison(records: Sequence[dict], one: str, other: str) -> str:
    """Which of two models is better here, by their paired differences on the same test images."""
    better: dict[str, list[str]] = {one: [], other: [], "": []}
    theirs = {record["task"]: record for record in records if record["model"] == other}
    places = {Judgement.BETTER: one, Judgement.WORSE: other, Judgement.UNCLEAR: ""}
    for record in (record for record in records if record["model"] == one and is_merit(record)):
        if record["task"] in theirs and other in record["protocol"]["paired_difference_to"]:
            better[places[judge(record, theirs[record["task"]])]].append(in_words(record))
    tasks = {name: f"in {listed(found)}" for name, found in better.items() if found}
    alike = f"; {Judgement.UNCLEAR} " + tasks[""] if "" in tasks else ""
    if one in tasks and other in tasks:
        return f"model {one} is better {tasks[one]}, model {other} {tasks[other]}{alike}"
    if not {one, other} & set(tasks):
        return f"neither of {one} and {other} is better here{alike or '; they have no task in common'}"
    first, second = (one, other) if one in tasks else (other, one)
    return f"model {first} is better here than {second}: {tasks[first]}{alike}"
