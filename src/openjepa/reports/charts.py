"""Charts as matplotlib figures, and figures as inline SVG that takes colours and type from the page around it."""

import functools
import html
import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from openjepa.masking.statistics import percent

INK, MUTED, LINE, PAPER = "#1d232c", "#687180", "#dde1e7", "#fdfdfd"
RUN, PIXELS, UNTRAINED = "#1f66b3", "#8b93a1", "#c27c1e"
VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", PAPER: "paper"}
VARIABLES |= {RUN: "run", PIXELS: "pixels", UNTRAINED: "untrained"}
METADATA = ("Date", "Creator", "Format", "Type")  # what savefig would write unasked
TASKS = {"linear": "linear probe", "knn": "k-NN", "finetune": "fine-tuning", "attentive": "attentive probe"}
BASELINES = {"untrained": (UNTRAINED, (0, (5, 2.5))), "pixels": (PIXELS, (0, (1.2, 1.8)))}
STYLE = {
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


@dataclass(frozen=True)
class Curve:
    """One quantity over the steps of a run; `levels` are baselines by name. A share (`percent`) is shown in percent."""

    steps: Sequence[int]
    values: Sequence[float]
    levels: dict[str, float] = field(default_factory=dict)
    percent: bool = False


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Let a function that makes a figure do so in our style, and leave matplotlib's settings as they were."""

    @functools.wraps(draw)
    def wrapped(*args, **kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapped


@styled
def curve_chart(curve: Curve, last_step: int) -> Figure:
    """A curve on axes from 0 to `last_step`, with its last value and its baselines named above."""
    figure = Figure((3.3, 2.15), layout="constrained")
    axes = figure.add_subplot()
    scale = 100 if curve.percent else 1
    values, levels = [scale * v for v in curve.values], {name: scale * v for name, v in curve.levels.items()}
    axes.plot(curve.steps, values, color=RUN, linewidth=1.8, label=f"last {_number(values[-1], curve.percent)}")
    axes.plot(curve.steps[-1:], values[-1:], "o", color=RUN, markersize=4, clip_on=False)
    for name, level in levels.items():
        colour, dashes = BASELINES[name]
        label = f"{name} {_number(level, curve.percent)}"
        axes.axhline(level, color=colour, linestyle=dashes, linewidth=1.4, label=label)
    axes.set_xlim(0, last_step)
    axes.set_ylim(min(0, *values), 1.08 * max(*values, *levels.values(), 1 if curve.percent else 1e-9))
    _number_axes(axes, curve.percent)
    spacing = {"handlelength": 1.4, "handletextpad": 0.4, "columnspacing": 0.8, "borderpad": 0}
    figure.legend(loc="outside upper left", ncols=3, **spacing)
    return figure


def _number_axes(axes: Axes, percent: bool) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter("{x:g} %" if percent else "{x:g}")
    axes.set_xlabel("step")


def _number(value: float, percent: bool) -> str:
    return f"{round(value, 1) + 0.0:.1f} %" if percent else f"{value:.3g}"  # + 0.0 for no minus before a zero


@styled
def result_chart(records: Sequence[dict]) -> Figure:
    """Accuracies as dots with their 95 % intervals, in percent: a group for each task, a row for each model.

    records: dicts with model, task, value, low and high (fractions), as in evaluation.json.
    """
    tasks = list(dict.fromkeys(record["task"] for record in records))
    rows, ticks, y = [], {}, 0.0
    for task in tasks:
        ticks[task] = y
        for record in (record for record in records if record["task"] == task):
            y += 1
            rows.append((y, record))
        y += 1.4
    figure = Figure((7.4, 0.5 + 0.235 * y), layout="constrained")
    axes = figure.add_subplot()
    for place, record in rows:
        _draw_result(axes, place, record)
    _name_rows(axes, ticks, rows)
    axes.set_ylim(y - 0.6, -0.7)
    lowest, highest = (100 * f(r[key] for r in records) for f, key in ((min, "low"), (max, "high")))
    axes.set_xlim(min(0, max(-20, lowest)), 1.12 * max(highest, 1))  # R2 may lie far below zero
    measures = {record.get("metric", "accuracy") for record in records}
    axes.set_xlabel("accuracy in %" if measures == {"accuracy"} else "in %")
    return figure


def _draw_result(axes: Axes, place: float, record: dict) -> None:
    value, low, high = (100 * record[key] for key in ("value", "low", "high"))
    colour = result_colour(record["model"])
    axes.plot([low, high], [place, place], color=colour, linewidth=2.4, alpha=0.45, solid_capstyle="butt")
    axes.plot([value], [place], "o", color=colour, markersize=5.5)
    axes.annotate(f"{value:.1f}", (high, place), (5, 0), textcoords="offset points", va="center", color=INK, fontsize=8)


def result_colour(model: str) -> str:
    return PIXELS if model == "pixels" else UNTRAINED if model.startswith("untrained") else RUN


def task_name(task: str) -> str:
    """A task in words: "knn:shape" is "k-NN (shape)"."""
    probe, _, label = task.partition(":")
    return TASKS.get(probe, probe) + (f" ({label})" if label else "")


def _name_rows(axes: Axes, ticks: dict[str, float], rows: list[tuple[float, dict]]) -> None:
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    places = [*ticks.values(), *(place for place, _ in rows)]
    names = [*map(task_name, ticks), *(_short(record["model"]) for _, record in rows)]
    axes.set_yticks(places, names)
    for label in axes.get_yticklabels()[: len(ticks)]:
        label.set(color=INK, fontweight="bold")


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else "…" + name[1 - most :]


@styled
def heading(title: str, line: str, width: float = 7.4) -> Figure:
    """A title and a line below it, to stand above pictures."""
    figure = Figure((width, 0.5))
    figure.text(0, 0.95, title, va="top", fontsize=12, fontweight="bold")
    figure.text(0, 0.05, line, va="bottom", fontsize=9, color=MUTED)
    return figure


@styled
def coverage_chart(fractions: dict[str, np.ndarray], width: float = 7.4) -> Figure:
    """Heat maps, side by side, of the share of images in which each patch [rows, columns] is "context" or "target".

    The colours start at 0 in every map; a patch that is never used is left blank and crossed.
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
    """A figure as an SVG element for an HTML page: the same bytes each time, nothing in it that leads elsewhere.

    Its colours are the page's variables, or those of the light page where it has none; `label` is read aloud.
    """
    stream = io.StringIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the page has fonts for what this one lacks
        figure.savefig(stream, format="svg", transparent=True, metadata=dict.fromkeys(METADATA))
    _, _, text = stream.getvalue().partition("<svg")
    view = re.search(r'viewBox="[^"]*"', text)[0]
    text = re.sub(r'<g id="[^"]*"', "<g", text[text.index(">") :])
    for colour, name in VARIABLES.items():
        text = text.replace(colour, f"var(--{name}, {colour})")
    return f'<svg role="img" aria-label="{html.escape(label)}" {view}{text}'


def as_picture(figure: Figure, dpi: int = 144) -> np.ndarray:
    """A figure as a picture on white, uint8 [H, W, 3]."""
    figure.set(dpi=dpi, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    with matplotlib.rc_context(STYLE):
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
