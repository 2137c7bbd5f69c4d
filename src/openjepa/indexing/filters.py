"""Conditions on the rows of an index: a small part of SQL, checked against the columns before anything runs it.

    condition   term { or term }
    term        factor { and factor }
    factor      not factor | ( condition ) | column test
    test        = | != | <> | < | <= | > | >= VALUE
                [not] in ( VALUE { , VALUE } ) | [not] like TEXT | [not] between VALUE and VALUE | is [not] null

Numbers are written as 12, -0.5 or 1e3, texts and times in single quotes: 'cat', '2024-05-06', '2024-05-06 07:08:09'.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import pyarrow as pa

from openjepa.errors import UsageError, quoted, unknown

TOKEN = re.compile(
    r"\s*(?:(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|'(?P<text>(?:[^']|'')*)'"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<mark><=|>=|<>|!=|[=<>(),]))",
    re.ASCII,
)
COMPARISONS = ("=", "!=", "<>", "<", "<=", ">", ">=")
WORDS = ("and", "or", "not", "in", "like", "between", "is", "null")
MOST_CHARACTERS, MOST_DEPTH = 10_000, 50


class Token(NamedTuple):
    kind: str  # number, text, word, mark or end
    text: str

    def __str__(self) -> str:
        return f"'{self.text}'" if self.kind == "text" else self.text or "the end"


def as_sql(condition: str, columns: Mapping[str, pa.DataType]) -> str:
    """A condition as SQL for the table, in which nothing stands that was not checked here.

    `columns` are those that it may name, with their types. Raises UsageError: an unknown column, a value of another
    type than its column, or what is no condition.
    """
    if len(condition) > MOST_CHARACTERS:
        raise UsageError(f"--where is longer than {MOST_CHARACTERS:,} characters: shorten it")
    parser = _Parser(_tokens(condition), columns)
    sql = parser.condition()
    if parser.now.kind != "end":
        raise parser.refused("and, or, or the end")
    return sql


def _tokens(condition: str) -> list[Token]:
    found, place = [], 0
    while condition[place:].strip():
        match = TOKEN.match(condition, place)
        if match is None:
            raise UsageError(f"--where is not understood at {condition[place:].strip()[:20]}: see docs/collections.md")
        kind = match.lastgroup or ""
        text = match[kind].replace("''", "'") if kind == "text" else match[kind]
        found.append(Token("word" if kind == "word" else kind, text))
        place = match.end()
    return [*found, Token("end", "")]


class _Parser:
    """Reads tokens from left to right."""

    def __init__(self, tokens: list[Token], columns: Mapping[str, pa.DataType]) -> None:
        self.tokens, self.columns, self.place, self.depth = tokens, columns, 0, 0

    @property
    def now(self) -> Token:
        return self.tokens[self.place]

    def refused(self, wanted: str) -> UsageError:
        return UsageError(f"--where is not understood at {quoted(str(self.now))}: {wanted} was expected")

    def take(self, *texts: str) -> str:
        """The next word or mark if it is one of these, in lower case; else ""."""
        given = self.now.text.lower() if self.now.kind in ("word", "mark") else ""
        if given not in texts:
            return ""
        self.place += 1
        return given

    def need(self, text: str) -> None:
        if not self.take(text):
            raise self.refused(text)

    def condition(self) -> str:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise UsageError(f"--where is nested more than {MOST_DEPTH} deep: write it flatter")
        terms = [self.term()]
        while self.take("or"):
            terms.append(self.term())
        self.depth -= 1
        return " OR ".join(terms)

    def term(self) -> str:
        factors = [self.factor()]
        while self.take("and"):
            factors.append(self.factor())
        return " AND ".join(factors)

    def factor(self) -> str:
        negations = 0
        while self.take("not"):
            negations += 1
        if self.take("("):
            inner = f"({self.condition()})"
            self.need(")")
        else:
            inner = f"({self.test(self.column())})"
        return f"(NOT {inner})" if negations % 2 else inner

    def column(self) -> str:
        if self.now.kind != "word" or self.now.text.lower() in WORDS:
            raise self.refused("a column")
        name = self.now.text
        if name not in self.columns:
            raise UsageError(f"--where: {unknown('column', quoted(name), self.columns)}")
        self.place += 1
        return name

    def test(self, column: str) -> str:
        named, mark = f"`{column}`", self.take(*COMPARISONS)
        if mark:
            return f"{named} {mark} {self.value(column)}"
        if self.take("is"):
            absent = "NOT NULL" if self.take("not") else "NULL"
            self.need("null")
            return f"{named} IS {absent}"
        negated = "NOT " if self.take("not") else ""
        if self.take("in"):
            return f"{named} {negated}IN ({', '.join(self.values(column))})"
        if self.take("between"):
            low = self.value(column)
            self.need("and")
            return f"{named} {negated}BETWEEN {low} AND {self.value(column)}"
        if self.take("like"):
            if not pa.types.is_string(self.columns[column]):
                raise UsageError(f"--where: like compares texts, and {column} is none")
            return f"{named} {negated}LIKE {self.value(column)}"
        raise self.refused(f"{', '.join(COMPARISONS)}, in, like, between or is")

    def values(self, column: str) -> list[str]:
        self.need("(")
        found = [self.value(column)]
        while self.take(","):
            found.append(self.value(column))
        self.need(")")
        return found

    def value(self, column: str) -> str:
        """A literal of the type of a column."""
        token, kind = self.now, self.columns[column]
        if token.kind not in ("number", "text"):
            raise self.refused("a number, or a text in single quotes,")
        self.place += 1
        if pa.types.is_string(kind) and token.kind == "text":
            return "'" + token.text.replace("'", "''") + "'"
        if pa.types.is_timestamp(kind) and token.kind == "text":
            return f"timestamp '{_time(token.text)}'"
        if (pa.types.is_integer(kind) or pa.types.is_floating(kind)) and token.kind == "number":
            return _number(token.text)
        wanted = "a number" if not (pa.types.is_string(kind) or pa.types.is_timestamp(kind)) else "in single quotes"
        raise UsageError(f"--where: {quoted(str(token))} does not fit the column {column}: give a value {wanted}")


def _number(text: str) -> str:
    value = float(text)
    if not math.isfinite(value):
        raise UsageError(f"--where: {quoted(text)} is too large a number")
    return repr(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _time(text: str) -> str:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")
    except ValueError as error:
        raise UsageError(f"--where: '{quoted(text)}' is not a time: write it as '2024-05-06 07:08:09'") from error
