"""Foreign text is shown without doing anything to a terminal, a spreadsheet, a document or a page."""

import csv
import re

import pytest

from openjepa.escaping import csv_cell, markdown, terminal
from openjepa.files import write_rows
from openjepa.reports.html import ENVIRONMENT

HARMFUL = {
    "\x1b[2J\x1b]0;title\x07": r"\x1b[2J\x1b]0;title\x07",
    "one\r\ntwo": r"one\r\ntwo",
    "\x9b31m": r"\x9b31m",
    "a\u202egpj.exe": r"a\u202egpj.exe",
    "zero\u200bwidth\ufeff": r"zero\u200bwidth\ufeff",
    "isolate\u2066": r"isolate\u2066",
    "tag\U000e0041": r"tag\U000e0041",
    "lines\u2028\u2029": r"lines\u2028\u2029",
    "byte\udcff": r"byte\xff",
}


@pytest.mark.parametrize(("text", "shown"), HARMFUL.items())
def test_what_is_not_seen_is_spelled_out(text, shown):
    assert terminal(text) == shown


@pytest.mark.parametrize("text", ["", "plain", "Katze – 猫 · кошка", "é", "naïve\u00a0", "[/red] :smile:"])
def test_other_text_stays(text):
    assert terminal(text) == text


def test_the_middle_of_a_long_line_is_left_out():
    shown = terminal("start " + "x" * 100_000 + " end")
    assert len(shown) < 4200 and shown.startswith("start ") and shown.endswith(" end")


@pytest.mark.parametrize("text", ["=1+1", "+A1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "-x.jpg", "\n=1"])
def test_text_is_no_formula(text, tmp_path):
    write_rows(tmp_path / "a.csv", ["path", text], [[text, 1]])
    with (tmp_path / "a.csv").open(newline="") as stream:
        assert list(csv.reader(stream)) == [["path", "'" + text], ["'" + text, "1"]]


@pytest.mark.parametrize("value", [-1, -1.5, "-1.5", "+3", "-1e-05", "a=b", "", None, "-.5"])
def test_numbers_and_other_text_stay(value):
    assert csv_cell(value) == value


def test_bytes_that_are_no_text_are_spelled_out_in_csv(tmp_path):
    write_rows(tmp_path / "a.csv", ["path"], [["\udcff.jpg"]])
    assert (tmp_path / "a.csv").read_text() == "path\n\\udcff.jpg\n"


def test_markdown_holds_words_only():
    shown = markdown("# a\n---\n<script>x</script> ![t](http:x) `code` *b* _c_ a_b |d| \x1b $x$ 1.5 & -1")
    assert shown == (
        r"\# a --- &lt;script&gt;x&lt;/script&gt; !\[t\](http:x) \`code\` \*b\* \_c\_ a_b \|d\| "
        r"\\x1b \$x\$ 1.5 &amp; -1"
    )
    assert [markdown(text) for text in ("1. x", "- x", "+ x", "2) x", "===", "> q")] == [
        *("1\\. x", "\\- x", "\\+ x", "2\\) x", "\\===", "&gt; q")
    ]


@pytest.mark.parametrize("text", HARMFUL)
def test_pages_show_what_is_not_seen(text):
    page = ENVIRONMENT.from_string('<p title="{{ text }}">{{ text }}</p>{{ text | command }}').render(text="<b>" + text)
    assert "<b>" not in page and not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028\u2029\u202e\u2066]", page)
