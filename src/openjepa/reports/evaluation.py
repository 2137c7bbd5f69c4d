"""The page of `openjepa evaluate`: numbers with intervals, charts, differences, and how each was measured."""

from collections.abc import Sequence

from openjepa.evaluation.results import is_fraction
from openjepa.reports import charts
from openjepa.reports.html import Html, facts, figure, folded, page, section, table, tag
from openjepa.reports.run_sections import number_cell, settings_of

LOOKS = ("appearance", "semantics")
CAUTION = (
    "Every task is judged by itself at 95 %: of twenty that two models do alike, one is expected to look different."
)


def evaluation_page(records: Sequence[dict], verdicts: Sequence[str] = ()) -> str:
    """A whole HTML document from the records of `evaluate`; `verdicts` are sentences that stand at its top."""
    first = records[0]
    protocol, models = first["protocol"], list(dict.fromkeys(record["model"] for record in records))
    head = tag(
        "header",
        tag("p", f"openjepa evaluation · probes trained on {first['data']}", class_="over"),
        tag("h1", ", ".join(models)),
        *(tag("p", sentence) for sentence in verdicts),
        *([tag("p", CAUTION, class_="note")] if verdicts else []),
    )
    parts = [head, *_leaks(protocol), _numbers(records, models), *_charts(records), _differences(records, models)]
    return page("openjepa evaluation", *parts, _protocols(records))


def _leaks(protocol: dict) -> list[Html]:
    count = protocol["near_duplicates"]
    text = f"{count:,} test images have a near duplicate among the training images: the numbers flatter."
    return [tag("p", text, class_="note")] if count else []


def _numbers(records: Sequence[dict], models: Sequence[str]) -> Html:
    rows = []
    for task in dict.fromkeys(record["task"] for record in records):
        row = {record["model"]: record for record in records if record["task"] == task}
        metric = next(iter(row.values()))["metric"]
        cells = [number_cell(row[model]) if model in row else "–" for model in models]
        rows.append([charts.task_name(task), metric, *cells])
    line = "In percent with 95 % intervals; RMSE and MAE, of which less is better, in the units of the images' files."
    return section("Numbers", tag("p", line), table(["task", "measure", *models], rows))


def _charts(records: Sequence[dict]) -> list[Html]:
    looks = [record for record in records if record["task"].split(":")[0] in LOOKS]
    others = [record for record in records if record not in looks and is_fraction(record)]
    found = []
    if others:
        caption = "Dots are measurements, bars their 95 % intervals; models whose bars overlap are not told apart."
        found.append(section("Side by side", _chart(others, caption)))
    if looks:
        caption = (
            "How much of what a picture looks like (appearance: share of variance explained) and of what it shows "
            "(semantics: share of the errors of always saying the commonest class that is avoided) a linear reading of "
            "the embedding finds. Both are 0 for a pixel format that knows nothing and 100 for one that knows all."
        )
        found.append(section("Appearance and semantics", _chart(looks, caption)))
    return found


def _chart(records: Sequence[dict], caption: str) -> Html:
    drawn = Html(charts.svg(charts.result_chart(records), "each model on each task, with intervals"))
    return figure(drawn, caption, class_="wide")


def _differences(records: Sequence[dict], models: Sequence[str]) -> Html:
    """Every two models, on the same test images: the one named later less the other."""
    rows = []
    for record in records:
        for other in models[: models.index(record["model"])]:
            if other in record["protocol"]["paired_difference_to"]:
                rows.append([charts.task_name(record["task"]), record["model"], other, *_difference(record, other)])
    if not rows:
        return Html("")
    line = "One model less another, on the same test images, which are drawn together 1,000 times."
    return section("Differences", tag("p", line), table(["task", "model", "less", "difference", "told apart"], rows))


def _difference(record: dict, other: str) -> tuple[Html, str]:
    value, low, high = record["protocol"]["paired_difference_to"][other]
    told = "yes" if low > 0 or high < 0 else "no"
    return number_cell({"metric": record["metric"], "value": value, "low": low, "high": high}), told


def _protocols(records: Sequence[dict]) -> Html:
    parts = []
    for record in records:
        name = f"{charts.task_name(record['task'])} · {record['model']}"
        parts.append(folded(name, facts(settings_of(record["protocol"]))))
    return section("How each was measured", *parts)
