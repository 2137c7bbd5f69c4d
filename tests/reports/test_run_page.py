"""The report says how a model compares with the baselines."""

from openjepa.evaluation.judgement import verdict_of
from openjepa.reports.run_page import beats_baselines


def test_the_standing_is_by_intervals_that_do_not_overlap():
    def record(model, task, value):
        return {"model": model, "task": task, "value": value, "low": value - 0.02, "high": value + 0.02, "protocol": {}}

    values = {
        "linear": (0.3, 0.4, 0.5),
        "knn": (0.3, 0.4, 0.42),
        "knn:count": (0.3, 0.5, 0.4),
        "appearance:colour": (0.3, 0.4, 0.1),
    }
    records = [
        record(model, task, value)
        for task, row in values.items()
        for model, value in zip(("pixels", "untrained", "mine"), row, strict=True)
    ]
    assert verdict_of(records, "mine") == (
        "model mine: better than pixels and untrained, in linear probe; better than pixels, not clearly different from "
        "untrained, in k-NN; better than pixels, worse than untrained, in k-NN (count)"
    )
    bold = {r["task"] for r in records if beats_baselines(r, [o for o in records if o["task"] == r["task"]])}
    assert bold == {"linear"}


def test_of_an_error_less_is_better():
    error = {"task": "count-error", "metric": "RMSE", "protocol": {}}
    ours, pixels, untrained = ({"low": low, "high": low + 1, "value": low} | error for low in (1, 3, 5))
    records = [ours | {"model": "mine"}, pixels | {"model": "pixels"}, untrained | {"model": "untrained"}]
    assert verdict_of(records, "mine") == "model mine: better than pixels and untrained, in count (RMSE)"


def test_the_difference_on_the_same_images_decides_where_there_is_one():
    """Intervals may overlap although one model is better on nearly every image."""
    paired = {"pixels": [0.02, 0.01, 0.03], "untrained": [0.0, -0.01, 0.01]}
    wide = {"task": "knn", "metric": "accuracy", "value": 0.5, "low": 0.4, "high": 0.6, "protocol": {}}
    baselines = [wide | {"model": model} for model in paired]
    for other, place in (("pixels", "better than pixels"), ("untrained", "not clearly different")):
        records = [r for r in baselines if r["model"] == other]
        records.append(wide | {"model": "mine", "protocol": {"paired_difference_to": paired}})
        assert verdict_of(records, "mine").startswith(f"model mine: {place}")
    error = wide | {"metric": "RMSE"}
    ours = error | {"model": "mine", "protocol": {"paired_difference_to": {"pixels": [0.02, 0.01, 0.03]}}}
    assert "worse than pixels" in verdict_of([error | {"model": "pixels"}, ours], "mine")
