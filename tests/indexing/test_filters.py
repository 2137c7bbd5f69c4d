"""Conditions hold for the rows that they say, and nothing reaches the table that is no condition."""

import pyarrow as pa
import pytest
from PIL import Image

import openjepa
from openjepa.errors import UsageError
from openjepa.indexing.filters import as_sql


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    home = tmp_path_factory.mktemp("filters")
    for number in range(6):
        image, exif = Image.new("RGB", (10 + 10 * number, 20), (40 * number,) * 3), Image.Exif()
        exif[0x0132] = f"2024:05:0{number + 1} 12:00:00"
        (home / "photos" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        image.save(home / "photos" / "ab"[number % 2] / f"it's {number}.jpg", exif=exif if number else Image.Exif())
    (home / "labels.csv").write_text("path,Kind,age\nit's 0.jpg,old cat,3\nit's 1.jpg,cat,4.5\nit's 2.jpg,dog,\n")
    openjepa.index("pixels", home / "photos", out=home / "index", labels=home / "labels.csv", workers=0)
    return openjepa.open_index(home / "index")


@pytest.mark.parametrize(
    ("condition", "numbers"),
    [
        ("width >= 30", "2345"),
        ("WIDTH > 1 or width = 10", None),
        ("width > 10 AND NOT (width = 40 or width = 60)", "124"),
        ("width = 10 or width = 20 and folder = 'a'", "0"),
        ("not not width between 20 and 40", "123"),
        ("width not between 20 and 40", "045"),
        ("path = 'a/it''s 2.jpg'", "2"),
        ("path like '%/it''s _.jpg' and folder in ('b', 'c')", "135"),
        ("Kind is null", "345"),
        ("Kind not in ('dog') and age is not null", "01"),
        ("age = 4.5 or age=-1e3", "1"),
        ("captured >= '2024-05-04' and captured < '2024-05-06'", "34"),
        ("captured is null", "0"),
        ("brightness<.5", "0123"),
    ],
)
def test_conditions(index, condition, numbers):
    if numbers is None:
        with pytest.raises(UsageError, match=r"column WIDTH is not known: .*did you mean width"):
            index.rows_where(condition)
        return
    found = [path for path, inside in zip(index.paths.to_pylist(), index.rows_where(condition), strict=True) if inside]
    assert "".join(sorted(path[-5] for path in found)) == numbers


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("nothing = 1", "column nothing is not known: known are path, folder"),
        ("vector = 1", "column vector is not known"),
        ("width = 'x'", "'x' does not fit the column width: give a value a number"),
        ("folder = 3", "3 does not fit the column folder: give a value in single quotes"),
        ("captured > 'May'", "'May' is not a time"),
        ("width like '1%'", "like compares texts"),
        ("width = 1; drop table images", "not understood at ; drop"),
        ("width = 1 --", "not understood at --"),
        ("width = 1 width = 2", "not understood at width: and, or, or the end was expected"),
        ("width = (select 1)", "not understood at (: a number"),
        ("abs(width) = 1", "column abs is not known"),
        ("width", "not understood at the end"),
        ("width in ()", "not understood at )"),
        ("", "not understood at the end: a column was expected"),
        ("folder = 'a", "not understood at 'a"),
        ("width = 1e999", "too large"),
        ("(" * 99 + "width = 1" + ")" * 99, "nested more than 50 deep"),
        ("not " * 3000 + "width = 1", "longer than 10,000"),
        ('folder = "a"', 'not understood at "a"'),
        ("`width` = 1", "not understood at `width`"),
    ],
)
def test_what_is_no_condition_is_refused_in_one_line(condition, said):
    columns = {"path": pa.string(), "folder": pa.string(), "width": pa.int32(), "captured": pa.timestamp("s")}
    with pytest.raises(UsageError) as refused:
        as_sql(condition, columns)
    assert said in str(refused.value) and "\n" not in str(refused.value)
