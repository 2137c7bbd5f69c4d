"""`openjepa runs DIR`: the runs below a folder."""

import json as json_format
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from openjepa.commands.arguments.options import Overwrite, Xlsx
from openjepa.console import log, show_table
from openjepa.data.summary import counted
from openjepa.files import check_output, write_output
from openjepa.files.path_arguments import checks_paths
from openjepa.files.tables import write_lists
from openjepa.files.workbook import check_xlsx
from openjepa.runs.listing import COLUMNS, Row, find_runs, settings_in_words

HEAD = ("run", "steps", "images", "verdict", "probe", "differs in")


@checks_paths
def list_runs(
    folder: Annotated[Path, Argument(help="Folder with runs in it, at any depth up to six.", show_default=False)],
    *,
    json: Annotated[Path | None, Option(help="File to write the rows to, with all their columns.")] = None,
    csv: Annotated[Path | None, Option(help="File to write them to as a table.")] = None,
    xlsx: Xlsx = None,
    overwrite: Overwrite = False,
) -> list[dict[str, Any]]:
    """List runs: steps taken and planned, the latest verdict and probe, and the settings in which they differ.

    A run that trains now is listed too. The probe is the online one: linear accuracy in %, without labels the rank.

    Returns a row for each run and for each other folder directly in FOLDER, a dict with the keys run, status
    (training, finished, stopped, damaged, "fine-tuning" or "no run"), done, steps, images, verdict, rank, knn, linear,
    segments, data, settings (those that differ between these runs) and problem; None where something does not apply.
    Raises UsageError.
    """
    for path in filter(None, (json, csv, xlsx)):
        check_output(Path(path), [], overwrite)
    check_xlsx(xlsx)
    rows = find_runs(Path(folder))
    runs = [row for row in rows if row["steps"] is not None]
    if runs:
        show_table(HEAD, map(_cells, runs))
    log(*(f"{row['run']}: {row['problem'] or row['status']}" for row in rows if row not in runs or row["problem"]))
    log(f"{counted(len(runs), 'run')} in {folder}")
    if json:
        write_output(Path(json), json_format.dumps(rows, indent=2) + "\n")
    write_lists(csv, xlsx, COLUMNS, [_csv_row(row) for row in rows])
    return rows


def _cells(row: Row) -> Sequence[str]:
    """A row for an 80 columns wide terminal."""
    length = f"{row['steps']:,}" if row["status"] == "finished" else f"{row['done']:,} of {row['steps']:,}"
    if row["status"] == "training":
        length += ", training"
    return row["run"], length, f"{row['images']:,}", row["verdict"] or "–", _probe(row), settings_in_words(row)


def _probe(row: Row) -> str:
    if row["linear"] is not None:
        return f"{100 * row['linear']:.1f}"
    return "–" if row["rank"] is None else f"rank {row['rank']:.1f}"


def _csv_row(row: Row) -> list[Any]:
    shown = row | {"settings": settings_in_words(row)}
    return ["" if shown[name] is None else shown[name] for name in COLUMNS]
