"""HTML from plain values. Whatever is not already `Html` is escaped, so no name or path can become markup."""

import base64
import html
import io
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from openjepa.reports.style import CSS

# The page may show what it contains, and neither fetch nor run anything.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Html(str):
    """Text that is markup already."""


def markup(value: object) -> Html:
    """Any value as markup: Html as it is, everything else escaped."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def tag(name: str, *inside: object, **attributes: object) -> Html:
    """An element; `class_` gives the attribute class, and so on. What is inside is escaped unless it is Html."""
    given = "".join(f' {key.rstrip("_")}="{html.escape(str(value))}"' for key, value in attributes.items())
    return Html(f"<{name}{given}>{''.join(map(markup, inside))}</{name}>")


def joined(parts: Iterable[Html]) -> Html:
    return Html("\n".join(parts))


def section(title: str, *inside: object) -> Html:
    return tag("section", tag("h2", title), *inside)


def figure(body: Html, caption: str, title: str = "", **attributes: object) -> Html:
    """A picture or chart with a sentence on how to read it."""
    heading = [tag("h3", title)] if title else []
    return tag("figure", *heading, body, tag("figcaption", caption), **attributes)


def picture(image: np.ndarray, alt: str, **attributes: object) -> Html:
    """uint8 [H, W, 3], stored in the page as PNG; `alt` also shows on hovering."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", optimize=True)
    data = base64.b64encode(stream.getvalue()).decode()
    name = html.escape(alt)
    given = "".join(f' {key.rstrip("_")}="{html.escape(str(value))}"' for key, value in attributes.items())
    return Html(f'<img src="data:image/png;base64,{data}" alt="{name}" title="{name}"{given}>')


def facts(pairs: Iterable[tuple[object, object]]) -> Html:
    """Names and values in two columns."""
    return tag("dl", *(part for name, value in pairs for part in (tag("dt", name), tag("dd", value))))


def table(head: Sequence[object], rows: Iterable[Sequence[object]], **attributes: object) -> Html:
    """A table whose first column names the rows."""
    top = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in head)))
    body = [tag("tr", tag("th", name, scope="row"), *(tag("td", cell) for cell in cells)) for name, *cells in rows]
    return tag("div", tag("table", top, tag("tbody", *body), **attributes), class_="scroll")


def folded(summary: str, *inside: object) -> Html:
    """What a reader may open."""
    return tag("details", tag("summary", summary), *inside)


def commands(text: str) -> Html:
    """Text with commands in it, whose options are not broken at their hyphens."""
    words = (tag("span", word, class_="word") if word.startswith("-") else markup(word) for word in text.split(" "))
    return Html(" ".join(words))


def page(title: str, *inside: object) -> str:
    """A whole HTML document that needs nothing else."""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><link rel="icon" href="data:,">'
        f"<title>{html.escape(title)}</title><style>{CSS}</style>"
    )
    body = tag("body", tag("main", *inside))
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n{body}</html>\n'
