"""Charts of measured results: models on tasks with intervals, and the runs of a study by setting."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from openjepa.evaluation.judgement import CONSTANT, in_words, is_baseline
from openjepa.evaluation.results import in_units
from openjepa.reports.chart_style import INK, LINE, MUTED, PIXELS, RUN, UNTRAINED, styled

LONGEST_NAME = 28


def by_task(records: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """The records by task in words, then by model."""
    tasks: dict[str, dict[str, dict[str, Any]]] = {}
    for record in records:
        tasks.setdefault(in_words(record), {})[record["model"]] = record
    return tasks


@styled
def result_chart(records: Sequence[dict[str, Any]]) -> Figure:
    """Accuracies as dots with their 95 % intervals, in percent: a group for each task, a row for each model.

    records: dicts with model, task, value, low and high (fractions), as in evaluation.json.
    """
    groups, rows, y = {}, [], 0.0
    for task, row in by_task(records).items():
        groups[task] = y
        for record in row.values():
            y += 1
            rows.append((y, record))
        y += 1.4
    figure = Figure((7.4, 0.5 + 0.235 * y), layout="constrained")
    axes = figure.add_subplot()
    for place, record in rows:
        _draw_result(axes, place, record)
    _name_rows(axes, groups, rows)
    axes.set_ylim(y - 0.6, -0.7)
    lowest, highest = (100 * f(r[key] for r in records) for f, key in ((min, "low"), (max, "high")))
    axes.set_xlim(min(0, max(-20, lowest)), 1.12 * max(highest, 1))  # R2 may be far below zero
    measures = {record.get("metric", "accuracy") for record in records}
    axes.set_xlabel("accuracy in %" if measures == {"accuracy"} else "in %")
    return figure


def _draw_result(axes: Axes, place: float, record: dict[str, Any]) -> None:
    value, low, high = (100 * record[key] for key in ("value", "low", "high"))
    model = record["model"]
    colour = {CONSTANT: MUTED, "pixels": PIXELS}.get(model, UNTRAINED if is_baseline(model) else RUN)
    axes.plot([low, high], [place, place], color=colour, linewidth=2.4, alpha=0.45, solid_capstyle="butt")
    axes.plot([value], [place], "o", color=colour, markersize=5.5)
    text = in_units(record)[0]
    axes.annotate(text, (high, place), (5, 0), textcoords="offset points", va="center", color=INK, fontsize=8)


def _name_rows(axes: Axes, groups: Mapping[str, float], rows: Sequence[tuple[float, dict[str, Any]]]) -> None:
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    names = [*groups, *(shortened(record["model"]) for _, record in rows)]
    axes.set_yticks([*groups.values(), *(place for place, _ in rows)], names)
    for label in axes.get_yticklabels()[: len(groups)]:
        label.set(color=INK, fontweight="bold")


def shortened(name: str) -> str:
    """The end of a long name, which tells paths apart better than their beginning."""
    return name if len(name) <= LONGEST_NAME else "…" + name[1 - LONGEST_NAME :]


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
        colour = RUN if abs(value - own) > noise else MUTED
        axes.plot([own, value], [place, place], color=colour, linewidth=1.6, alpha=0.5)
        axes.plot([value], [place], "o", color=colour, markersize=5)
    axes.set_yticks([place for place, _, _ in rows], [name for _, name, _ in rows])
    axes.set_ylim(y - 0.2, -0.8)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(label)
    axes.annotate("recipe", (own, -0.75), (0, 2), textcoords="offset points", ha="center", color=INK, fontsize=8)
    return figure
