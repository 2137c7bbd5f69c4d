"""The page of `openjepa evaluate`: results with intervals, charts, differences, and how each was measured."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from openjepa.evaluation.judgement import classes_in_words, in_words, is_merit, judge_difference, listed, question_of
from openjepa.evaluation.results import is_fraction
from openjepa.reports.html import render
from openjepa.reports.result_charts import by_task, result_chart

NAMED = 4  # questions in the title
LOOKS = ("appearance", "semantics")
Record = dict[str, Any]


class Difference(NamedTuple):
    """`model` minus `other` on a task, and what the first is compared with the second; "" where neither is a merit."""

    task: str
    model: str
    other: str
    number: Record
    judgement: str


def evaluation_page(records: Sequence[Record], verdicts: Sequence[str] = ()) -> str:
    """A whole HTML document from the records of `evaluate`; `verdicts` are sentences at its top."""
    models = list(dict.fromkeys(record["model"] for record in records))
    looks = [record for record in records if record["task"].split(":")[0] in LOOKS]
    others = [record for record in records if record not in looks and is_fraction(record)]
    return render(
        "evaluation.html",
        data=records[0]["data"],
        near_duplicates=records[0]["protocol"]["near_duplicates"],
        models=models,
        questions=_questions(records),
        classes=classes_in_words(records),
        verdicts=verdicts,
        tasks=by_task(records),
        others=result_chart(others) if others else None,
        looks=result_chart(looks) if looks else None,
        differences=_differences(records, models),
        protocols=[(in_words(r), r["model"], r["protocol"]) for r in records],
    )


def _questions(records: Sequence[Record]) -> str:
    """What the records are about, for the title."""
    questions = list(dict.fromkeys(map(question_of, records)))
    more = [f"{len(questions) - NAMED + 1} more"] if len(questions) > NAMED else []
    return listed([*questions[: NAMED - len(more)], *more])


def _differences(records: Sequence[Record], models: Sequence[str]) -> list[Difference]:
    """Of every two models, the one named later minus the other, on the same test images."""
    found = []
    for record in records:
        for other in models[: models.index(record["model"])]:
            if paired := record["protocol"]["paired_difference_to"].get(other):
                value, low, high = paired
                number = {"metric": record["metric"], "value": value, "low": low, "high": high}
                judgement = judge_difference(record, low, high).value if is_merit(record) else ""
                found.append(Difference(in_words(record), record["model"], other, number, judgement))
    return found
