"""The evaluation page says which model is better, and shows zero without a sign."""

import re

from openjepa.reports.evaluation_page import evaluation_page


def page_of(differences):
    """A page of two models on a task for each (value, low, high) of the second minus the first."""
    records = []
    for model in ("pixels", "run"):
        for number, difference in enumerate(differences):
            protocol = {"near_duplicates": 0, "paired_difference_to": {"pixels": difference} if model == "run" else {}}
            number_of = {"value": 0.5, "low": 0.4, "high": 0.6, "metric": "accuracy"}
            records.append({"model": model, "data": "d", "task": f"task{number}", "protocol": protocol} | number_of)
    return evaluation_page(records)


def test_a_model_is_better_or_worse_if_its_interval_does_not_contain_zero():
    text = page_of([(0.1, 0.05, 0.2), (0.1, -0.05, 0.2), (-0.1, -0.2, -0.05)])
    section = text.split("<h2>Differences</h2>")[1].split("</section>")[0]
    assert re.findall(r"<td>(better|worse|not clearly different)</td>", section) == [
        "better",
        "not clearly different",
        "worse",
    ]


def test_zero_has_no_sign():
    text = page_of([(-0.0, -0.0, 0.0)])
    body = text.split("<body>")[1]
    assert "-0.0" not in body and "0.0 to 0.0" in body
