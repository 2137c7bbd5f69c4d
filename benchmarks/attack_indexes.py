"""Hostile indexes, damaged or well-formed with rows that lie, before the commands that read them; and conditions."""

import contextlib
import datetime
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from attack_files import Forge, dump, hostile_image, lie
from attack_harmless import link_tree
from attack_models import copied

USUAL = ["--workers", "0", "--device", "cpu"]
KEY, PATCHES_KEY, PATCHES = b"openjepa.index", b"openjepa.patches", "patches"


def index(forge: Forge) -> tuple[str, list[str]]:
    """An index of which a file is damaged, or whose rows, columns or facts lie."""
    what = forge.dice.choice(["damaged index", "rows of an index", "rows of an index", "facts of an index"])
    if what == "damaged index":
        folder = copied(forge, "index", "*/*/*", "*/_versions/*", "*/data/*")
        if forge.chance(6):
            _replaced(forge, folder)
        return what, _use(forge, str(folder))
    folder, from_where = forge.folder / "index", link_tree(forge.harmless / "classes", forge.folder / "taken")
    refused = pa.ArrowException, ValueError, RuntimeError, TypeError, OverflowError, AttributeError  # by LanceDB
    with contextlib.suppress(*refused):
        _lying_table(forge, folder, from_where, what == "rows of an index")
    return what, _use(forge, str(folder), may_move=True)


def _replaced(forge: Forge, folder: Path) -> None:
    """A folder of the table is a pipe, a link elsewhere, or a file."""
    place = folder / "images.lance" / forge.dice.choice(["data", "_versions", "_transactions", "_deletions"])
    if place.is_dir():
        place.rename(folder / "kept")
    forge.dice.choice(
        [
            lambda: os.mkfifo(place),
            lambda: place.symlink_to(folder / "kept"),
            lambda: place.symlink_to("/dev/zero"),
            lambda: place.write_bytes(b"x"),
        ]
    )()


def _lying_table(forge: Forge, folder: Path, source: Path, rows: bool) -> None:
    import lancedb

    table = lancedb.connect(str(forge.harmless / "index")).open_table("images").to_arrow()
    about = json.loads(table.schema.metadata[KEY])
    about["source"] = str(source)
    if rows:
        for _ in range(forge.dice.choice([1, 2, 4])):
            table = _lying_column(forge, table)
    else:
        about = lie(forge, about)
        if isinstance(about, dict) and forge.chance(2):
            evil = [
                f"{forge.guard}",
                "hf:evil/x",
                forge.url + "/x",
                "timm:evil",
                f"untrained:{forge.guard}",
                "/dev/zero",
            ]
            about[forge.dice.choice(["model", "source"])] = forge.dice.choice(evil)
    if forge.chance(2):
        table = _lying_patches(forge, table)
    table = table.replace_schema_metadata({KEY: dump(about)})
    lancedb.connect(str(folder)).create_table("images", table)


def _lying_patches(forge: Forge, table: pa.Table) -> pa.Table:
    """Patch tokens of another shape than the column's metadata says, or metadata that lies."""
    if PATCHES not in table.column_names:
        return table
    place = table.column_names.index(PATCHES)
    field = table.schema.field(place)
    about = json.loads(field.metadata[PATCHES_KEY])
    if forge.chance(2):
        about = lie(forge, about)
    elif forge.chance(2):  # of the same number of bytes
        about |= {"rows": about["rows"] * about["columns"], "columns": 1}
    else:
        about[forge.dice.choice([*about])] = forge.dice.choice([0, -1, 1, 2**14, 2**31, 1e308, None, [1, 1], "x"])
    cells, width = table[PATCHES].to_pylist(), field.type.byte_width
    if forge.chance(3):
        width = forge.dice.choice([1, width - 1, width + 1, 2**16])
        cells = [b"\x7f" * width] * len(cells)
    column = pa.array(cells, pa.binary(width))
    return table.set_column(place, pa.field(PATCHES, column.type, metadata={PATCHES_KEY: dump(about)}), column)


def _box(forge: Forge) -> list[str]:
    """Numbers of a box, most of them of none."""
    numbers = ["0", "1", "4", "8", "16", "-1", "nan", "inf", "-inf", "1e308", "1e-308", "9" * 40, "x", ""]
    boxes = [["0", "0", "8", "8"], ["0", "0", "16", "16"], ["3.5", "3.5", "3.6", "3.6"]]
    return forge.dice.choice([*boxes, forge.dice.choices(numbers, k=forge.dice.choice([3, 4, 4, 4, 5]))])


def _lying_column(forge: Forge, table: pa.Table) -> pa.Table:
    """A column with hostile cells, of another type, missing, or new."""
    name = forge.dice.choice([*table.column_names, "path", "path", "thumbnail", "vector", "patches", "class"])
    if name not in table.column_names:
        return table
    place, field = table.column_names.index(name), table.schema.field(name)
    what = forge.dice.randrange(12)
    if what == 0:
        return table.drop_columns([name])
    if what == 1:
        return table.set_column(place, name, pa.array([forge.word()] * len(table)))
    if what == 2:
        return table.append_column(forge.dice.choice(forge.words), pa.array([forge.word()] * len(table)))
    if what == 3:
        return pa.concat_tables([table] * forge.dice.choice([2, 20]))
    cells = table[name].to_pylist()
    for _ in range(forge.dice.choice([1, 2, len(cells)])):
        cells[forge.dice.randrange(len(cells))] = _cell(forge, name, field.type)
    return table.set_column(place, field, pa.array(cells, field.type))


def _cell(forge: Forge, name: str, kind: pa.DataType) -> Any:
    if name == "path":
        paths = [f"{forge.guard}/secret.png", "../../guard/secret.png", "", ".", "/dev/zero", "x" * 5000, "a/0.png"]
        return forge.dice.choice([None, *paths, *forge.words])
    if name == "thumbnail":
        return forge.dice.choice([None, b"", b"x", hostile_image(forge)[2], b"\0" * 2**20])
    if name == "vector":
        value = forge.dice.choice([np.nan, np.inf, 0.0, -0.0, 65504.0])
        return forge.dice.choice([None, np.full(kind.list_size, value, np.float16)])
    if pa.types.is_timestamp(kind):
        return forge.dice.choice([None, datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31), 2**62])
    if pa.types.is_integer(kind):
        return forge.dice.choice([None, -1, 0, 2**31 - 1, -(2**31)])
    if pa.types.is_floating(kind):
        return forge.dice.choice([None, float("nan"), float("inf"), -1e30, 1e308 if kind == pa.float64() else 1e38])
    if name == "patches":
        dice = np.random.default_rng(forge.dice.randrange(9))
        return forge.dice.choice(
            [None, b"\0" * kind.byte_width, b"\x80" * kind.byte_width, dice.bytes(kind.byte_width)]
        )
    if pa.types.is_fixed_size_binary(kind):
        return forge.dice.choice([None, b"\0" * kind.byte_width, b"\xff" * kind.byte_width])
    return forge.dice.choice([None, "", *forge.words, "x" * 100_000])


# --- commands ------------------------------------------------------------------------------------------------------


def _use(forge: Forge, name: str, may_move: bool = False) -> list[str]:
    """A command that reads an index. `may_move`: its images are the case's own."""
    data, run = str(forge.harmless / "classes"), str(forge.harmless / "run")
    place = [forge.dice.choice(["--link", "--move"] if may_move else ["--link"]), "new", "--yes"]
    to = forge.dice.choice(
        [["--out", f"a{forge.dice.choice(['.csv', '.xlsx'])}"], ["--out", "a.parquet"], place, place]
    )
    labels = forge.file("labels.csv", b"path,kind\na/0.png,x\na/2.png,x\nb/1.png,y\nb/3.png,y\n")
    ways = [
        ["search", name, f"{data}/a/0.png", "--html", "a.html", "--csv", "a.csv", "--json", "a.json", *USUAL],
        ["search", name, "a/0.png", "--html", "a.html", "--csv", "a.csv", "--json", "a.json", *USUAL],
        ["search", name, "--like", "a/0.png", "--unlike", "b/1.png", "--where", _condition(forge), *USUAL],
        ["search", name, "a/0.png", "--box", *_box(forge), "--html", "a.html", "--csv", "a.csv", *USUAL],
        ["search", name, f"{data}/a/0.png", "--box", *_box(forge), "--json", "a.json", *USUAL],
        ["search", name, f"{data}/a/1.png", "--box", *_box(forge), "--html", "a.html", *USUAL],
        ["imagine", run, f"{data}/a/1.png", "--box", "0", "0", "9", "9", "--from", name, "--out", "a.html", *USUAL],
        ["index", run, data, "--out", name, "--patches", *USUAL],
        ["curate", "duplicates", name, *to],
        ["curate", "outliers", name, *to],
        ["curate", "clusters", name, *to],
        ["curate", "sample", name, "--n", "4", "--by", forge.dice.choice(["typical", "diverse"]), *to],
        ["curate", "labels", name, labels, *to],
        ["index", run, data, "--out", name, *USUAL],
    ]
    return forge.dice.choice(ways)


COLUMNS = ["path", "folder", "width", "class", "captured", "brightness", "vector", "stamp", "thumbnail", "_rowid", "x"]
VALUES = ["1", "-0.5", "1e999", "9" * 400, "'cat'", "'2024-05-06'", "'9999-99-99'", "''''", "null", "'", "'%_%'", "*"]
MARKS = [
    "=",
    "!=",
    "<",
    ">=",
    "in",
    "not in",
    "like",
    "between",
    "is null",
    "is not",
    "and",
    "or",
    "not",
    "(",
    ")",
    ",",
]
ODD = ["--", ";", "/*", "union select", "cast(path as int)", "\0", "\x1b[31m", "[/red]", '"path"', "`", "\\", "\udcff"]
USUAL_CONDITIONS = [
    "width >= 1",
    "class = 'a'",
    "path like '%a%'",
    "captured is null",
    "class in ('a', 'b') or width < 9",
]


def _condition(forge: Forge) -> str:
    what = forge.dice.randrange(6)
    if what == 0:
        depth = forge.dice.choice([10, 60, 5000])
        return "(" * depth + "width = 1" + ")" * depth
    if what == 1:
        return forge.dice.choice([" or ", " and "]).join(
            [forge.dice.choice(USUAL_CONDITIONS)] * forge.dice.choice([2, 400])
        )
    if what == 2:
        return f"path like '{'%a_' * forge.dice.choice([5, 3000])}%'"
    if what == 3:
        return f"{forge.dice.choice(COLUMNS)} {forge.dice.choice(MARKS)} {forge.dice.choice(VALUES)}"
    words = [*COLUMNS, *VALUES, *MARKS, *(ODD if what == 4 else [])]
    return " ".join(forge.dice.choices(words, k=forge.dice.choice([1, 3, 5, 9])))


def condition(forge: Forge) -> tuple[str, list[str]]:
    """A condition that lies, on a harmless index."""
    where = _condition(forge).replace("\0", "")
    outputs = ["--html", "a.html", "--csv", "a.csv", "--json", "a.json"]
    return "condition", ["search", forge.copy("index"), "a/0.png", f"--where={where}", *outputs, *USUAL]
