"""Which of two measured numbers is better: the one judgement that the terminal, the report and the page repeat."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

CONSTANT = "constant"  # the model that always gives the same answer
LOWER_IS_BETTER = ("RMSE", "mean error")
QUANTITIES = ("count", "distance")  # tasks on numbers that are divided into classes
SEVERAL_MEASURES = ("count", "count-error", "distance", "depth", "depth-delta1")  # named with their measure
NAMES = {
    "linear": "linear probe",
    "knn": "k-NN",
    "knn-whitened": "k-NN, whitened",
    "finetune": "fine-tuning",
    "attentive": "attentive probe",
}
NAMES |= {"count-error": "count", "depth-delta1": "depth"}
NO_MERIT = ("appearance",)  # tasks of which a high number is neither good nor bad
Record = dict[str, Any]


class Judgement(StrEnum):
    BETTER = "better"
    UNCLEAR = "not clearly different"
    WORSE = "worse"


WORDS = {
    Judgement.BETTER: "better than",
    Judgement.UNCLEAR: "not clearly different from",
    Judgement.WORSE: "worse than",
}


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


def is_baseline(model: str) -> bool:
    return model in (CONSTANT, "pixels") or model.startswith("untrained")


def question_of(record: Record) -> str:
    """What a record is about, in words, whatever the measure: "k-NN (shape)", "count of WBC"."""
    task, _, label = record["task"].partition(":")
    kind = record.get("protocol", {}).get("kind")
    of_kind = f" of {kind}" if kind else ""
    return NAMES.get(task, task) + (f" ({label}{of_kind})" if label else of_kind)


def in_words(record: Record) -> str:
    """What a record is about and, where a task has several measures, by which: "count of WBC (mean error)"."""
    several = record["task"] in SEVERAL_MEASURES
    return question_of(record) + (f" ({metric_of(record)})" if several else "")


def listed(words: Sequence[str]) -> str:
    """ "a, b and c" """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def verdict_of(records: Sequence[Record], model: str) -> str:
    """The sentence on how a model compares with the baselines; "" where it has none to compare with.

    Measures with the same outcome are named together. Tasks of which a high number is no merit are left out.
    """
    outcomes: dict[str, list[str]] = {}
    for mine in (record for record in records if record["model"] == model and is_merit(record)):
        others = [r for r in records if r["task"] == mine["task"] and r is not mine and is_baseline(r["model"])]
        names = {each: [r["model"] for r in others if judge(mine, r) is each] for each in Judgement}
        parts = [f"{WORDS[each]} {listed(found)}" for each, found in names.items() if found]
        if parts:
            outcomes.setdefault(", ".join(parts), []).append(in_words(mine))
    said = "; ".join(f"{outcome}, in {listed(measures)}" for outcome, measures in outcomes.items())
    return f"model {model}: {said}" if said else ""


def verdicts_of(records: Sequence[Record]) -> list[str]:
    """`verdict_of` every model that is no baseline."""
    models = dict.fromkeys(record["model"] for record in records if not is_baseline(record["model"]))
    return [sentence for model in models if (sentence := verdict_of(records, model))]


def not_beaten(records: Sequence[Record]) -> list[Record]:
    """The constant's records of the questions that no model answers clearly better than it, by any measure."""
    constants = {record["task"]: record for record in records if record["model"] == CONSTANT}
    beaten = {
        question_of(record)
        for record in records
        if record["task"] in constants and judge(record, constants[record["task"]]) is Judgement.BETTER
    }
    return [record for record in constants.values() if question_of(record) not in beaten and is_merit(record)]


def constant_sentence(records: Sequence[Record]) -> list[str]:
    """A sentence on the measures by which no model is clearly better than the constant; none if there are none."""
    found = not_beaten(records)
    if not found:
        return []
    images = sorted({record["protocol"].get("test_images", 0) for record in found})
    count = f"{images[0]:,}" if len(images) == 1 else f"{images[0]:,} to {images[-1]:,}"
    named = listed([in_words(record) for record in found])
    return [f"no model is clearly better than always giving the same answer in {named}, from {count} test images"]


def classes_in_words(records: Sequence[Record]) -> list[str]:
    """Of what the accuracies of quantities are: a sentence for each, with its classes."""
    found = {}
    for record in records:
        classes = record.get("protocol", {}).get("classes")
        if record["task"] in QUANTITIES and classes:
            what = "the accuracy of saying in which of these classes an image is"
            found[in_words(record)] = f"{in_words(record)} is {what}: {', '.join(classes)}"
    return list(found.values())
