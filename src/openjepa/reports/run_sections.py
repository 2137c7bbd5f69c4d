"""What the report says in words, tables and charts, from plain values."""

from collections.abc import Sequence

from openjepa.evaluation.results import above, in_units, is_fraction
from openjepa.reports import charts
from openjepa.reports.html import Html, commands, facts, figure, folded, markup, section, table, tag

BADGES = {
    "healthy": "good",
    "weak": "warn",
    "not learning": "warn",
    "early": "calm",
    "collapsed": "bad",
    "positional collapse": "bad",
    "dimensional collapse": "bad",
    "unstable": "bad",
}
CURVES = {
    "loss": (
        "Loss",
        "Distance between predicted and true representations. It falls in collapsing runs too: alone it says nothing.",
    ),
    "rank": (
        "Effective rank",
        "In how many directions the embeddings of a fixed sample differ. Below the dashed line images have become more "
        "alike than they were before training.",
    ),
    "positional_fraction": (
        "Positional share",
        "Share of the targets' variance that position alone explains. Near 100 % the model learns where, not what.",
    ),
    "energy_gap": (
        "Energy gap",
        "How much better a prediction fits its own image than another image at the same place. At 0 % it does not use "
        "the content.",
    ),
    "knn": (
        "k-NN",
        "Accuracy by vote of the most similar images, on a small sample: good only if above both dashed lines.",
    ),
    "linear": (
        "Linear probe",
        "Accuracy of a linear classifier on the same sample: good only if above both dashed lines.",
    ),
}
PLACES = ("above both baselines", "not clearly above both baselines", "below a baseline")
FRACTIONS = CURVES.keys() - {"loss", "rank"}


def heading(name: str, source: str, status: str, sentence: str) -> Html:
    """The title with the verdict: a badge and a sentence."""
    badge = tag("span", status, class_=f"badge {BADGES.get(status, 'calm')}")
    verdict = tag("div", badge, tag("p", sentence.removeprefix(f"{status}: ")), class_="verdict")
    return tag("header", tag("p", f"openjepa report · trained on {source}", class_="over"), tag("h1", name), verdict)


def note(text: str) -> Html:
    return tag("p", commands(text), class_="note")


def about(images: Sequence[tuple], model: Sequence[tuple], classes: dict[str, dict[str, int]]) -> Html:
    """What was trained on what: names and values of either, and images by class name, by label."""
    counts = [
        folded(f"images by {label}", facts((name, f"{count:,}") for name, count in names.items()))
        for label, names in classes.items()
    ]
    left = tag("div", tag("h3", "Images"), facts(images), *counts)
    right = tag("div", tag("h3", "Model"), facts(model))
    return section("What was trained on what", tag("div", left, right, class_="columns"))


def not_measured(command: str) -> Html:
    """In place of results, the command that gives them."""
    line = tag("p", "Not measured yet. To have the results here, run:")
    return section("Results", line, tag("pre", commands(command)))


def results(records: Sequence[dict], ours: str) -> Html:
    """Table and chart of the records of evaluation.json, the model `ours` beside the others."""
    protocol = records[-1]["protocol"]
    fractions = [record for record in records if is_fraction(record)]
    drawn = charts.svg(charts.result_chart(fractions), "each model on each task, with intervals") if fractions else ""
    chart = Html(drawn)
    caption = (
        f"Measured on {protocol['test_images']:,} test images ({protocol['test']}). Dots are measurements, bars their "
        "95 % intervals; models whose bars overlap are not told apart."
    )
    protocols = {charts.task_name(r["task"]): r["protocol"] for r in records if r["model"] == ours}
    how = [part for task, rows in protocols.items() for part in (tag("h3", task), facts(settings_of(rows)))]
    return section(
        "Results",
        tag("p", standing(records, ours)),
        _result_table(records, ours),
        figure(chart, caption, class_="wide"),
        folded("How this was measured", *how),
    )


def settings_of(protocol: dict) -> list[tuple[str, object]]:
    """How a number was measured, by name; differences to other models are no setting."""
    return [(name, value) for name, value in protocol.items() if name != "paired_difference_to"]


def standing(records: Sequence[dict], ours: str) -> str:
    """Where a model stands beside the baselines, task by task, by whether the intervals overlap."""
    found: dict[str, list[str]] = {place: [] for place in PLACES}
    for mine in (record for record in records if record["model"] == ours):
        others = [r for r in records if r["task"] == mine["task"] and charts.result_colour(r["model"]) != charts.RUN]
        below = any(above(other, mine) for other in others)
        best = all(above(mine, other) for other in others)
        found[PLACES[2 if below else 0 if best else 1]].append(charts.task_name(mine["task"]))
    return f"{ours} is " + "; ".join(f"{where} in {', '.join(tasks)}" for where, tasks in found.items() if tasks) + "."


def _result_table(records: Sequence[dict], ours: str) -> Html:
    models = list(dict.fromkeys(record["model"] for record in records))
    rows = []
    for task in dict.fromkeys(record["task"] for record in records):
        cells = {record["model"]: number_cell(record) for record in records if record["task"] == task}
        rows.append([charts.task_name(task), *(_marked(cells.get(model, "–"), model == ours) for model in models)])
    return table(["in %, or in units", *(_marked(model, model == ours) for model in models)], rows)


def _marked(value: object, stands_out: bool) -> object:
    return tag("span", value, class_="ours") if stands_out else value


def number_cell(record: dict) -> Html:
    """A number and its interval, in percent or in its units."""
    value, low, high = in_units(record)
    return Html(markup(value) + tag("span", f"{low} to {high}", class_="range"))


def curves(records: Sequence[dict], steps: int) -> Html:
    """Every monitored quantity over the steps, from the records of metrics.jsonl, of a run of `steps`."""
    charted = [_curve(records, name, steps) for name in CURVES if any(name in record for record in records)]
    return section("Over time", tag("div", *charted, class_="curves"))


def _curve(records: Sequence[dict], name: str, steps: int) -> Html:
    title, caption = CURVES[name]
    pairs = [(record["step"], record[name]) for record in records if name in record]
    start = records[0] if records[0]["step"] == 0 else {}
    levels = {"untrained": start.get(name), "pixels": start.get(f"{name}_pixels")}
    shown = {level: value for level, value in levels.items() if value is not None and name != "energy_gap"}
    curve = charts.Curve(*zip(*pairs, strict=True), shown, name in FRACTIONS)
    return figure(Html(charts.svg(charts.curve_chart(curve, steps), f"{title} over steps")), caption, title)


def settings(rows: dict[str, Sequence[tuple[str, str, str, bool]]], again: str, given: str) -> Html:
    """By panel, (option, value, meaning, whether it differs from the default); the commands to repeat and as typed."""
    panels = [
        part
        for panel, options in rows.items()
        for part in (tag("h3", panel), table(("option", "value", "meaning"), map(_setting, options), class_="words"))
    ]
    return section(
        "Do it again",
        tag("p", "On the same images and the same kind of machine this command gives the same run:"),
        tag("pre", commands(again)),
        tag("p", "It was started as ", tag("code", commands(given))),
        folded("All settings", tag("p", "Those that differ from the defaults are in colour."), *panels),
    )


def _setting(row: tuple[str, str, str, bool]) -> tuple:
    option, value, meaning, changed = row
    return option, _marked(value, changed), meaning
