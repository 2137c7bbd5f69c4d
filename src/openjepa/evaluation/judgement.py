"""Which of two measured numbers is better: the one judgement that the terminal, the report and the page repeat."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

CONSTANT = "constant"  # the model that always gives the same answer
LOWER_IS_BETTER = ("RMSE", "mean error")
NO_MERIT = ("appearance",)  # tasks of which a high number is neither good nor bad
Record = dict[str, Any]


class Judgement(StrEnum):
    BETTER = "better"
    WORSE = "worse"
    UNCLEAR = "not clearly different"


def metric_of(record: Record) -> str:
    """The name of what was measured; older records call the mean error MAE."""
    metric = record.get("metric", "accuracy")
    return "mean error" if metric == "MAE" else metric


def judge(record: Record, other: Record) -> Judgement:
    """What a record is, compared with another model's of the same task, at 95 %.

    The interval of the difference on the same test images decides; without one, two intervals that do not overlap.
    """
    paired = record["protocol"].get("paired_difference_to", {}).get(other["model"])
    low, high = paired[1:] if paired else (record["low"] - other["high"], record["high"] - other["low"])
    return judge_difference(record, low, high)


def judge_difference(record: Record, low: float, high: float) -> Judgement:
    """What a record is, whose difference to another one lies between `low` and `high` at 95 %."""
    if metric_of(record) in LOWER_IS_BETTER:
        low, high = -high, -low
    return Judgement.BETTER if low > 0 else Judgement.WORSE if high < 0 else Judgement.UNCLEAR


def is_merit(record: Record) -> bool:
    """Whether a better number makes a model better."""
    return record["task"].split(":")[0] not in NO_MERIT


def nothing_learned(records: Sequence[Record]) -> list[str]:
    """The tasks, by name, of which no model is clearly better than the constant."""
    constants = {record["task"]: record for record in records if record["model"] == CONSTANT}
    beaten = {
        record["task"]
        for record in records
        if record["task"] in constants and judge(record, constants[record["task"]]) is Judgement.BETTER
    }
    return [task for task, record in constants.items() if task not in beaten and is_merit(record)]


def constant_sentence(records: Sequence[Record]) -> list[str]:
    """A sentence on the tasks of which nothing was learned; none if there are none."""
    tasks = nothing_learned(records)
    if not tasks:
        return []
    named = ", ".join(task.replace(":", " ") for task in tasks)
    return [f"nothing beats always giving the same answer in {named}: there, no model has learned anything"]
