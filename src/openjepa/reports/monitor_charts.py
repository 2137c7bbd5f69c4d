"""Charts of what is monitored while a run trains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from openjepa.reports.chart_style import MUTED, PIXELS, RUN, UNTRAINED, styled

BASELINES = {"untrained": (UNTRAINED, (0, (5, 2.5))), "pixels": (PIXELS, (0, (1.2, 1.8)))}
Lines = Mapping[str, Sequence[tuple[float, float]]]  # by run: (percentage of the run, value)


# What is charted, in this order; templates/monitored.html has the titles and captions.
MONITORED = ("loss", "rank", "positional_fraction", "energy_gap", "alignment", "uniformity", "knn", "linear")
FEW = 12  # measurements, up to which each has a dot
FRACTIONS = ("positional_fraction", "energy_gap", "knn", "linear")  # shown in percent


@dataclass(frozen=True)
class Curve:
    """A quantity over the steps of a run; `levels` are baselines by name. With `percent`, values are fractions."""

    steps: Sequence[int]
    values: Sequence[float]
    levels: Mapping[str, float] = field(default_factory=dict)
    percent: bool = False


@styled
def curve_chart(curve: Curve, last_step: int) -> Figure:
    """A curve on axes from 0 to `last_step`; its last value and its baselines are in the legend above."""
    figure = Figure((3.3, 2.15), layout="constrained")
    axes = figure.add_subplot()
    scale = 100 if curve.percent else 1
    values, levels = [scale * v for v in curve.values], {name: scale * v for name, v in curve.levels.items()}
    axes.plot(curve.steps, values, color=RUN, linewidth=1.8, label=f"last {_number(values[-1], curve.percent)}")
    marked = slice(None) if len(values) <= FEW else slice(-1, None)
    axes.plot(curve.steps[marked], values[marked], "o", color=RUN, markersize=4, clip_on=False)
    for name, level in levels.items():
        colour, dashes = BASELINES[name]
        label = f"{name} {_number(level, curve.percent)}"
        axes.axhline(level, color=colour, linestyle=dashes, linewidth=1.4, label=label)
    axes.set_xlim(0, last_step)
    axes.set_ylim(min(0, *values), 1.08 * max(*values, *levels.values(), 1 if curve.percent else 1e-9))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("step")
    _number_values(axes, curve.percent)
    spacing = {"handlelength": 1.4, "handletextpad": 0.4, "columnspacing": 0.8, "borderpad": 0}
    figure.legend(loc="outside upper left", ncols=3, **spacing)
    return figure


def _number_values(axes: Axes, percent: bool) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter("{x:zg} %" if percent else "{x:zg}")


def _number(value: float, percent: bool) -> str:
    return f"{value:z.1f} %" if percent else f"{value:z.3g}"


@styled
def runs_chart(lines: Lines, ours: str, reference: str, percent: bool) -> Figure:
    """One quantity over the percentage of each run that is done: two runs in colour, the others in grey.

    With `percent` the values are fractions.
    """
    figure = Figure((4.6, 2.1), layout="constrained")
    axes = figure.add_subplot()
    colours = {reference: UNTRAINED, ours: RUN}
    for name in sorted(lines, key=lambda name: list(colours).index(name) if name in colours else -1):
        done = [x for x, _ in lines[name]]
        values = [100 * y if percent else y for _, y in lines[name]]
        axes.plot(done, values, color=colours.get(name, MUTED), alpha=None if name in colours else 0.5, linewidth=1.8)
    axes.set_xlim(0, 100)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter("{x:zg} %")
    axes.set_xlabel("of the run")
    _number_values(axes, percent)
    return figure
