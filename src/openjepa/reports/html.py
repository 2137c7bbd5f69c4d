"""HTML pages from the templates in templates/. Every value is escaped unless it is markup that is made here.

Characters that are not seen, or that change the direction of others, are spelled out.
"""

import base64
import io
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from PIL import Image

from openjepa.escaping import visible
from openjepa.evaluation.results import in_units, measure_of, row_name
from openjepa.reports import chart_style
from openjepa.runs.command_line import option_words

SMOOTH_FROM = 160  # pixels; smaller pictures are enlarged without smoothing


def png(image: np.ndarray) -> str:
    """uint8 [H, W, 3] as the address of a PNG that stands in the page itself."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def unbroken_options(command: str) -> Markup:
    """A command whose options are not broken at their hyphens."""
    words = (
        Markup('<span class="word">{}</span>').format(w) if w[:1] == "-" else escape(w)
        for w in plain(command).split(" ")
    )
    return Markup(" ").join(words)


def how_measured(protocol: dict[str, Any]) -> list[tuple[str, Any]]:
    """The protocol of a measurement by name, without the differences from other models, which have their own table."""
    return [(name, value) for name, value in protocol.items() if name != "paired_difference_to"]


def sentence_start(text: str) -> str:
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """A line of the terminal as a sentence of a page: with a capital letter and a full stop."""
    return sentence_start(text) + "." * (text[-1:] not in (".", "!", "?"))


def svg(figure: Figure, label: str) -> Markup:
    return Markup(visible(chart_style.svg(figure, label), kept="\n\t"))


def plain(value: Any) -> Any:
    """A value of a template with its unseen characters spelled out, if it is text and no markup of this module."""
    return visible(value, kept="\n\t") if isinstance(value, str) and not isinstance(value, Markup) else value


def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("openjepa.reports"),
        autoescape=True,
        finalize=plain,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "png": png,
        "svg": svg,
        "in_units": in_units,
        "measure_of": measure_of,
        "row_name": row_name,
        "command": unbroken_options,
        "sentence": sentence,
        "sentence_start": sentence_start,
    }
    found.filters |= {"thousands": "{:,}".format, "protocol": how_measured, "percent": "{:z.1%}".format}
    found.filters["points"] = lambda fraction: f"{100 * fraction:+z.1f}"
    found.filters["options"] = lambda settings: " ".join(option_words(settings))
    found.tests["small"] = lambda image: max(image.shape) < SMOOTH_FROM
    return found


ENVIRONMENT = _environment()


def render(template: str, **values: Any) -> str:
    """A whole HTML document that needs no other file."""
    return ENVIRONMENT.get_template(template).render(values).lstrip()
