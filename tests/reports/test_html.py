"""The page is one file: it needs nothing, runs nothing, and what people typed stays text."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from openjepa.reports.html import commands, facts, figure, folded, page, picture, section, table, tag
from openjepa.reports.run_sections import about, heading, note, standing

NASTY = "<script>alert('x')</script>&\"><img src=x onerror=y>"


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_whatever_a_person_names_stays_text():
    image = np.zeros((2, 2, 3), np.uint8)
    parts = (
        heading(NASTY, NASTY, NASTY, NASTY),
        note(NASTY),
        about([(NASTY, NASTY)], [(NASTY, NASTY)], {NASTY: {NASTY: 3}}),
        section(NASTY, figure(picture(image, NASTY), NASTY, NASTY), folded(NASTY, facts([(NASTY, NASTY)]))),
        table([NASTY, NASTY], [(NASTY, NASTY)]),
        tag("pre", commands(f"openjepa pretrain {NASTY} --out {NASTY}"), title=NASTY),
    )
    found = Tags(page(NASTY, *parts))
    assert not found.open
    assert "script" not in {name for name, _ in found.seen}
    assert [a["src"][:5] for name, a in found.seen if name == "img"] == ["data:"]
    assert not any(key.startswith("on") for _, attributes in found.seen for key in attributes)


def test_the_page_forbids_itself_the_network():
    text = page("a", "b")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'") and "//" not in text


def test_pictures_are_stored_whole():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    (data,) = re.findall(r"base64,([^\"]*)", picture(image, "x"))
    assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) == image).all()


def test_the_standing_is_by_intervals_that_do_not_overlap():
    def record(model, task, value):
        return {"model": model, "task": task, "value": value, "low": value - 0.02, "high": value + 0.02}

    values = {"linear": (0.3, 0.4, 0.5), "knn": (0.3, 0.4, 0.42), "knn:count": (0.3, 0.5, 0.4)}
    records = [
        record(model, task, value)
        for task, row in values.items()
        for model, value in zip(("pixels", "untrained", "mine"), row, strict=True)
    ]
    assert standing(records, "mine") == (
        "mine is above both baselines in linear probe; not clearly above both baselines in k-NN; "
        "below a baseline in k-NN (count)."
    )
