"""README.md is short and has every command; the options and links of all pages exist; guides are readable."""

import ast
import contextlib
import functools
import inspect
import io
import re
from pathlib import Path

import pytest

import openjepa
from openjepa.cli import parse
from openjepa.commands import COMMANDS
from openjepa.config import FIELDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")} - {*(ROOT / "docs/reference").glob("*.md")})
FOLDERS = [ROOT / "docs" / folder for folder in ("", "concepts", "notebooks")]
GUIDES = [ROOT / "README.md", *sorted(page for folder in FOLDERS for page in folder.glob("*.md"))]
TYPED = [page for page in PAGES if page.name not in ("lab-log.md", "decisions.md", "CHANGELOG.md")]  # not history
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def prose(text: str) -> list[str]:
    """The paragraphs and items of lists of a page, without code, tables and addresses."""
    text = re.sub(r"\]\([^)]*\)", "]", FENCED.sub("", text))
    parts = re.split(r"\n\s*\n|\n(?=\s*(?:- |\d+\. ))", text)
    return [part.strip() for part in parts if part.strip() and part.strip()[0] not in "|#!"]


def long_sentences(text: str) -> list[str]:
    """The sentences of more than 35 words, of which what is code does not count."""
    plain = [re.sub(r"`[^`]*`", "", sentence) for part in prose(text) for sentence in re.split(r"(?<=[.?!])\s+", part)]
    return [sentence for sentence in plain if len(re.findall(r"\w[\w'-]*", sentence)) > 35]


def test_it_is_short():
    assert len(README.splitlines()) < 120
    numbers = re.findall(r"\d+(?:[.,]\d+)*", re.sub(r"\]\([^)]*\)", "]", FENCED.sub("", README)))
    assert len(numbers) < 30, numbers


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(ROOT)))
def test_guides_have_short_sentences_and_paragraphs(page):
    assert long_sentences(page.read_text()) == []
    assert [part[:60] for part in prose(page.read_text()) if len(part) > 620] == []  # five lines of a wide page


def test_every_command_has_a_row():
    (table,) = re.findall(r"^\| command \|.*?\n\n", README, re.MULTILINE | re.DOTALL)
    for command in COMMANDS:
        group, _, rest = command.name.partition(" ")
        row = next((line for line in table.splitlines() if f"`openjepa {group}" in line), "")
        assert row and (rest in row or f"{rest}s" in row), command.name


@pytest.mark.parametrize("page", TYPED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_option_of_the_commands_of_a_page_exists(page):
    words = "|".join(command.name for command in COMMANDS)
    text = page.read_text().replace("\\\n", " ")
    for name, rest in re.findall(rf"(?:^|`|\$ |&& |-m )openjepa ({words})\b([^`#\n]*)", text, re.MULTILINE):
        unknown = set(re.findall(r" (--[a-z-]+)", rest)) - options(name)
        assert not unknown, (name, rest)


@functools.cache
def options(name: str) -> set[str]:
    """The options that the help of a command lists."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        parse([*name.split(), "--help"])
    return set(re.findall(r"--[a-z-]+", out.getvalue()))


def test_its_python_calls_what_exists():
    (block,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    calls = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call)]
    owners = {"openjepa": openjepa, "encoder": openjepa.Encoder}
    called = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.value.id in owners]
    assert len(called) == 4
    for call in called:
        function = getattr(owners[call.func.value.id], call.func.attr)
        names = inspect.signature(function).parameters
        assert {word.arg for word in call.keywords} <= {*names, *FIELDS}, call.func.attr


def anchors(page: Path) -> set[str]:
    """The names that GitHub and MyST give to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pictures_are_described(page):
    text = FENCED.sub("", page.read_text())
    described = re.findall(r"!\[([^\]]*)\]\(", text) + re.findall(r"<img [^>]*alt=\"([^\"]*)\"", text)
    assert len(described) == len(re.findall(r"!\[|<img ", text))
    assert [words for words in described if len(words.split()) < 5] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", FENCED.sub("", page.read_text())):
        name, _, anchor = target.partition("#")
        if name.startswith("reference/"):  # made from the code when the site is built
            continue
        found = page.parent / name if name else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target
