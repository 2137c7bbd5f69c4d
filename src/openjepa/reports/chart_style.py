"""The style of all charts, charts of masks, and figures as inline SVG that takes colours and type from its page."""

import functools
import html
import io
import re
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from openjepa.masking.coverage import percent

INK, MUTED, LINE, PAPER = "#1d232c", "#687180", "#dde1e7", "#fdfdfd"
RUN, PIXELS, UNTRAINED = "#1f66b3", "#8b93a1", "#c27c1e"
VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", PAPER: "paper"}
VARIABLES |= {RUN: "run", PIXELS: "pixels", UNTRAINED: "untrained"}
METADATA = ("Date", "Creator", "Format", "Type")  # which savefig writes by default
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "none",
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "openjepa",
}


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Make a function draw in the style above, without a lasting change of matplotlib's settings."""

    @functools.wraps(draw)
    def wrapped(*args, **kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapped


@styled
def heading(title: str, line: str, width: float = 7.4) -> Figure:
    """A title with a line below it, to put above pictures."""
    figure = Figure((width, 0.5))
    figure.text(0, 0.95, title, va="top", fontsize=12, fontweight="bold")
    figure.text(0, 0.05, line, va="bottom", fontsize=9, color=MUTED)
    return figure


@styled
def coverage_chart(fractions: dict[str, np.ndarray], width: float = 7.4) -> Figure:
    """Heat maps, side by side, of the fraction of images in which each patch [rows, columns] is "context" or "target".

    In every map the colours start at 0; a patch that is never used is left blank and crossed out.
    """
    rows, columns = next(iter(fractions.values())).shape
    side = width / len(fractions) - 0.9
    figure = Figure((width, min(side * rows / columns, 1.6 * side) + 0.5), layout="constrained")
    for axes, (name, fraction) in zip(figure.subplots(1, len(fractions)), fractions.items(), strict=True):
        _heat_map(axes, fraction)
        title = f"{name}: {percent(fraction.min())} to {percent(fraction.max())} of the images"
        axes.set_title(title, color=INK, fontsize=9, loc="left", pad=7)
    return figure


def _heat_map(axes: Axes, fraction: np.ndarray) -> None:
    rows, columns = fraction.shape
    edges = {"edgecolors": PAPER, "linewidth": 0.5} if max(fraction.shape) <= 32 else {"edgecolors": "face"}
    used = np.ma.masked_equal(fraction, 0)
    mesh = axes.pcolormesh(used, cmap="viridis", vmin=0, vmax=fraction.max() or 1, **edges)
    axes.set(aspect="equal", xlim=(0, columns), ylim=(rows, 0), xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    never = np.argwhere(fraction == 0) + 0.5
    axes.plot(never[:, 1], never[:, 0], "x", color=MUTED, markersize=60 / max(rows, columns), markeredgewidth=0.7)
    bar = axes.figure.colorbar(mesh, ax=axes, shrink=0.94, aspect=26, pad=0.03)
    bar.outline.set_visible(False)
    bar.locator = MaxNLocator(5)
    bar.formatter = PercentFormatter(1, decimals=0 if fraction.max() > 0.04 else 1, symbol=" %")
    bar.update_ticks()


def svg(figure: Figure, label: str) -> str:
    """A figure as an SVG element for an HTML page, the same bytes each time, without any outside reference.

    Its colours are the variables of the page's style sheet; `label` is what screen readers read.
    """
    stream = io.StringIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has other fonts
        figure.savefig(stream, format="svg", transparent=True, metadata=dict.fromkeys(METADATA))
    _, _, text = stream.getvalue().partition("<svg")
    opening, closing, text = text.partition(">")
    view = opening[opening.index("viewBox") :].split('"')[1]
    text = closing + re.sub(r'<g id="[^"]*"', "<g", text)
    for colour, name in VARIABLES.items():
        text = text.replace(colour, f"var(--{name}, {colour})")
    return f'<svg role="img" aria-label="{html.escape(label)}" viewBox="{view}"{text}'


def as_picture(figure: Figure, dpi: int = 144) -> np.ndarray:
    """A figure as a picture on white, uint8 [H, W, 3]."""
    figure.set(dpi=dpi, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    with matplotlib.rc_context(STYLE):
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
