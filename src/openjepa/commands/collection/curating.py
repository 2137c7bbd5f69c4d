"""What the commands of `openjepa curate` share: their options, the index, and what is done with a list."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pyarrow as pa
from typer import Argument, Option

from openjepa.console import log
from openjepa.data.open import Given
from openjepa.data.summary import counted
from openjepa.errors import UsageError
from openjepa.exploring import atlas
from openjepa.files import check_output
from openjepa.files.tables import check_table_file, write_arrow
from openjepa.indexing.curation.list_formats import FORMATS, check_format, write_list
from openjepa.indexing.curation.placing import LIST, place, planned
from openjepa.indexing.index import Index, open_index
from openjepa.indexing.refresh import refreshed

IndexName = Annotated[str, Argument(help="An index or, with --in, a model.", show_default=False)]
In = Annotated[
    Given | None,
    Option("--in", help="Images for the model INDEX, which are indexed in the cache.", show_default=False),
]
Move = Annotated[Path | None, Option(help="Folder to move the files to; only shown, unless --yes.", show_default=False)]
Link = Annotated[Path | None, Option(help="Folder to link to them in; only shown, unless --yes.", show_default=False)]
Yes = Annotated[bool, Option("--yes", help="Do what --move or --link shows.")]
Format = Annotated[
    str | None,
    Option(
        help=f"Write --out for another program: {', '.join(FORMATS)} (.json) or {atlas.NAME} ({atlas.SUFFIX}).",
        show_default=False,
    ),
]
FILES = dict.fromkeys(FORMATS, ".json") | {atlas.NAME: atlas.SUFFIX}  # the endings of their names
SHOWN = 5  # files of a plan that are printed


def check_outputs(
    out: Path | None, name: str | None, move: Path | None, link: Path | None, yes: bool, overwrite: bool
) -> None:
    """Raise UsageError where --out cannot be written as `name` says, or --move and --link contradict each other."""
    check_format(name, out and Path(out), FILES)
    if out:
        if name is None:
            check_table_file(Path(out))
        check_output(Path(out), [], overwrite)
    if move and link:
        raise UsageError("--move and --link are both given: give one of them")
    if yes and not (move or link):
        raise UsageError("--yes is given without --move or --link: give the folder for the files")


def opened(index: str, data: Given | None) -> Index:
    """The index of a name or, of a model and its images, that in the cache, up to date."""
    return open_index(index) if data is None else open_index(refreshed(None, str(index), data), model=str(index))


def finish(
    index: Index,
    table: pa.Table,
    out: Path | None,
    name: str | None,
    chosen: Sequence[str],
    folders: Sequence[str] | None,
    move: Path | None,
    link: Path | None,
    yes: bool,
) -> pa.Table:
    """Write a table, or a list in the format `name`, and move or link the files that are `chosen`, or show that."""
    if out and name:
        if name == atlas.NAME:
            atlas.write_atlas(Path(out), index, table)
        else:
            write_list(Path(out), index, table, name)
        log(f"{name} list: {out}")
    elif out:
        write_arrow(Path(out), table)
        log(f"table: {out}")
    if into := move or link:
        into = Path(into)
        steps = planned(index, chosen, folders or [""] * len(chosen), into)
        verb = "moved to" if move else "linked in"
        if yes:
            place(steps, into, link is not None)
            log(f"{counted(len(steps), 'file')} {verb} {into}" + (f", listed in {into / LIST}" if move else ""))
        else:
            log(*(f"{step.source} -> {step.target}" for step in steps[:SHOWN]))
            log(f"{counted(len(steps), 'file')} would be {verb} {into}: give --yes to do it")
    return table
