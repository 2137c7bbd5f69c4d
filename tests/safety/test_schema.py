"""Every way in which a JSON file from outside can be wrong ends in one line that names the file and the field."""

import json
import os

import pytest

from openjepa.errors import UsageError
from openjepa.safety.schema import Count, Fraction, Json, Name, Schema, checked, parse_json, read_json


class Inner(Schema):
    depth: Count
    sides: tuple[Count, Count] = (1, 1)


class Outer(Schema):
    name: Name
    share: Fraction
    inner: Inner
    rest: Json = None


GOOD = {"name": "a", "share": 1, "inner": {"depth": 3, "sides": [4, 5]}, "rest": {"x": [1, 2.5, None]}, "more": 1}


def write(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_good_file_is_read(tmp_path):
    value = read_json(write(tmp_path, GOOD), Outer, "do this")
    assert (value.share, value.inner.sides, value.rest) == (1.0, (4, 5), {"x": [1, 2.5, None]})
    assert checked(Outer, GOOD, "here", "do this") == value == checked(Outer, value.model_dump(), "here", "do this")
    assert read_json(write(tmp_path, [GOOD]), list[Outer], "do this") == [value]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": "1"}, "share is 1"),
        ({"share": float("nan")}, "share is NaN"),
        ({"share": float("inf")}, "share is Infinity"),
        ({"share": True}, "share is true"),
        ({"share": 1.5}, "share is 1.5 (input should be less than or equal to 1)"),
        ({"inner": 5}, "inner is 5"),
        ({"inner": []}, "inner is a list"),
        ({"inner": {}}, "inner.depth is missing"),
        ({"inner": {"depth": True}}, "inner.depth is true"),
        ({"inner": {"depth": -1}}, "inner.depth is -1"),
        ({"inner": {"depth": 10**100}}, "inner.depth is 1000"),
        ({"inner": {"depth": 2.0}}, "inner.depth is 2.0"),
        ({"inner": {"depth": 1, "sides": [1, 2, 3]}}, "inner.sides is a list"),
        ({"name": "x" * 2000}, "name is xxx"),
        ({"name": None}, "name is null"),
        ({"rest": {"deep": [float("nan")]}}, "numbers must be finite"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, change, message):
    for check in (
        lambda: read_json(write(tmp_path, GOOD | change), Outer, "do this"),
        lambda: checked(Outer, GOOD | change, str(tmp_path / "x.json"), "do this"),
    ):
        with pytest.raises(UsageError) as caught:
            check()
        text = str(caught.value)
        assert text.startswith(f"{tmp_path / 'x.json'} is damaged: ") and text.endswith(": do this")
        assert message in text and "\n" not in text and len(text) < 300 + len(str(tmp_path))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "\0",
        '{"a": 1e99999}',
        "9" * 5000,
        "[" * 100_000,
        '{"a":' * 100_000,
        "\ud800".encode("utf-8", "replace"),
        b"\xff",
    ],
)
def test_what_is_no_json_of_the_kind_is_refused(content):
    with pytest.raises(UsageError, match="x is damaged"):
        parse_json(content, Outer, "x", "do this")


def test_a_message_holds_no_control_characters(tmp_path):
    with pytest.raises(UsageError) as caught:
        checked(dict[str, Inner], {"a\x1b[31m\n": {"depth": "\x1b]0;x\x07" * 1000}}, "x", "do this")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


def test_what_is_no_regular_file_or_too_large_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(UsageError, match="not a regular file: do this"):
            read_json(path, Outer, "do this")
    with pytest.raises(UsageError, match=r"cannot read .*No such file.*: do this"):
        read_json(tmp_path / "none", Outer, "do this")
    with pytest.raises(UsageError, match="larger than 10 bytes"):
        read_json(write(tmp_path, GOOD), Outer, "do this", max_bytes=10)


def test_objects_are_no_values():
    with pytest.raises(UsageError, match="x is damaged: it holds other than plain values"):
        checked(dict[str, Json], {"a": object()}, "x", "do this")
