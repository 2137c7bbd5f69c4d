"""Values stay text in every template, and pictures are stored whole."""

import base64
import io

import numpy as np
from PIL import Image
from support.html_checks import check_stands_alone

from openjepa.reports.evaluation_page import evaluation_page
from openjepa.reports.html import ENVIRONMENT, png, unbroken_options

NASTY = "<script>alert('x')</script>&\"><img src=x onerror=y>"


def parts(name, *values, **named):
    return str(getattr(ENVIRONMENT.get_template("parts.html").module, name)(*values, **named))


def test_whatever_a_user_names_stays_text():
    image = np.zeros((2, 2, 3), np.uint8)
    tile = {"image": image, "path": NASTY, "lines": [(NASTY, NASTY)]}
    record = {"metric": NASTY, "value": 0.5, "low": 0.4, "high": 0.6}
    made = [
        parts("badge", NASTY),
        parts("facts", [(NASTY, NASTY)]),
        parts("table", [NASTY, NASTY], [(NASTY, NASTY)], NASTY),
        parts("number", record),
        parts("ours", NASTY),
        parts("image", image, NASTY),
        parts("tile", tile, NASTY),
        parts("counts_by_label", {NASTY: {NASTY: 1}}, NASTY),
        unbroken_options(f"openjepa {NASTY} --out {NASTY} --{NASTY}"),
    ]
    for text in made:
        assert "<script" not in text and "<img src=x" not in text


def test_an_evaluation_with_nasty_names_stands_alone():
    protocol = {"near_duplicates": 2, "paired_difference_to": {"pixels": [0.1, 0.05, 0.2]}, NASTY: NASTY}
    record = {"data": NASTY, "metric": "accuracy", "value": 0.5, "low": 0.4, "high": 0.6, "protocol": protocol}
    records = [record | {"model": model, "task": task} for model in ("pixels", NASTY) for task in ("knn", NASTY)]
    text = evaluation_page(records, [NASTY])
    check_stands_alone(text)
    assert text.count("2 test images have a near duplicate") == 1


def test_pictures_are_stored_whole():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    data = png(image).removeprefix("data:image/png;base64,")
    assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) == image).all()


def test_options_are_not_broken_at_their_hyphens():
    assert unbroken_options("a --b-c d") == 'a <span class="word">--b-c</span> d'
