"""The charts of the page of a study: settings beside the recipe, runs over time, score against accuracy."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from openjepa.reporting.charts import INK, LINE, MUTED, RUN, UNTRAINED, styled

Lines = Mapping[str, tuple[Sequence[float], Sequence[float]]]


@styled
def settings_chart(groups: Mapping[str, Mapping[str, float]], own: float, noise: float, label: str) -> Figure:
    """A dot for each value of each setting, and a band of `noise` on either side of the recipe's `own` result.

    groups: results by value in words, by setting.
    """
    rows, y = [], 0.0
    for values in groups.values():
        rows += [(y + i, name, value) for i, (name, value) in enumerate(values.items())]
        y += len(values) + 0.6
    figure = Figure((7.4, 0.7 + 0.21 * y), layout="constrained")
    axes = figure.add_subplot()
    axes.axvspan(own - noise, own + noise, color=LINE, alpha=0.8, linewidth=0)
    axes.axvline(own, color=INK, linewidth=1)
    for place, _, value in rows:
        beyond = abs(value - own) > noise
        axes.plot([own, value], [place, place], color=RUN if beyond else MUTED, linewidth=1.6, alpha=0.5)
        axes.plot([value], [place], "o", color=RUN if beyond else MUTED, markersize=5)
    axes.set_yticks([place for place, _, _ in rows], [name for _, name, _ in rows])
    axes.set_ylim(y - 0.2, -0.8)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(label)
    axes.annotate("recipe", (own, -0.75), (0, 2), textcoords="offset points", ha="center", color=INK, fontsize=8)
    return figure


@styled
def runs_chart(lines: Lines, ours: str, reference: str, percent: bool) -> Figure:
    """One quantity over the share of each run that is done: `ours` and the `reference` in colour, the others grey."""
    figure = Figure((4.6, 2.1), layout="constrained")
    axes = figure.add_subplot()
    colours = {reference: UNTRAINED, ours: RUN}
    for name in sorted(lines, key=lambda name: list(colours).index(name) if name in colours else -1):
        shares, values = lines[name]
        scaled = [100 * value for value in values] if percent else values
        look = {"color": colours[name], "linewidth": 1.8} if name in colours else {"color": MUTED, "alpha": 0.5}
        axes.plot(shares, scaled, **look)
    axes.set_xlim(0, 100)
    axes.xaxis.set_major_formatter("{x:g} %")
    axes.yaxis.set_major_formatter("{x:g} %" if percent else "{x:g}")
    axes.locator_params(nbins=4)
    axes.set_xlabel("of the run")
    return figure


@styled
def scatter_chart(points: Sequence[tuple[float, float, bool]], label: str) -> Figure:
    """(score, accuracy as a fraction, whether it stands out) of runs."""
    figure = Figure((7.4, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for chosen, colour in ((False, RUN), (True, UNTRAINED)):
        some = [(x, 100 * y) for x, y, stands_out in points if stands_out == chosen]
        _dots(axes, some, colour)
    axes.set_xlabel(label)
    axes.set_ylabel("linear probe in %")
    axes.locator_params(nbins=5)
    return figure


def _dots(axes: Axes, points: Sequence[tuple[float, float]], colour: str) -> None:
    axes.plot([x for x, _ in points], [y for _, y in points], "o", color=colour, markersize=5.5, alpha=0.75)
