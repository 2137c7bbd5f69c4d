"""Foreign text made harmless for where it is shown: a terminal, a page, a spreadsheet or a Markdown document.

Names of files, labels, licences, tensor names and header fields come from whoever made a file. Everything that prints
or writes them goes through one of these functions.
"""

import os
import re
import sys
import unicodedata
from typing import Any

MOST_CHARACTERS = 4096  # of one line on a terminal
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp", "Cn", "Co"}  # controls, bidi and zero-width characters, surrogates, unassigned
FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # what makes a spreadsheet evaluate a cell
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MARKDOWN = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])|^([-+=#]|\d+(?=[.)]))")


def visible(text: str, kept: str = "") -> str:
    """The text with every character that is not seen, or that moves others, spelled out: \\x1b, \\u202e.

    Characters in `kept` stay as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in kept or unicodedata.category(c) not in UNSEEN else _spelled(c) for c in text)


def _spelled(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that is not UTF-8 in the name of a file
        return f"\\x{os.fsencode(character)[0]:02x}" if sys.platform != "win32" else "\\ufffd"
    return character.encode("unicode_escape").decode()


def terminal(text: Any, most: int = MOST_CHARACTERS) -> str:
    """The text as one line for a terminal, without escape sequences; the middle of a very long one is left out."""
    text = str(text)
    if len(text) > most:
        text = f"{text[: most * 2 // 3]} [...] {text[-(most // 3) :]}"
    return visible(text)


def csv_cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: text that begins like one gets an apostrophe in front.

    Numbers, also as text, are left as they are.
    """
    if not isinstance(value, str) or not value.lstrip(" \0").startswith(FORMULA) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"


def utf8(text: str) -> str:
    """The text with bytes that are not UTF-8, as names of files may have, spelled as `write_rows` spells them."""
    return text.encode("utf-8", "backslashreplace").decode()


def markdown(text: Any) -> str:
    """The text as words of one line of Markdown: no markup, HTML, link, picture, formula or break of a table."""
    plain = " ".join(str(text).split())
    plain = visible(plain).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(_backslashed, plain)


def _backslashed(found: re.Match) -> str:
    return found[0] + "\\" if found[0].isdecimal() else "\\" + found[0]
