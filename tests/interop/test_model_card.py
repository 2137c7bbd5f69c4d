"""The card's front matter is YAML whatever the licence is, and its tables hold whatever text they are given."""

import dataclasses

import pytest
import yaml

from openjepa.interop.model_card import Card, write_card

CARD = Card("photos", "cc-by-nc-4.0", "timm", "code", [("mean", "0.5")], [("images", "8 of photos")])


def front_matter(card):
    _, front, _ = write_card(card).split("---\n")
    return yaml.safe_load(front)


def test_front_matter():
    assert write_card(CARD).startswith("---\nlicense: cc-by-nc-4.0\npipeline_tag: image-feature-extraction\n")
    assert front_matter(CARD) == {
        "license": "cc-by-nc-4.0",
        "pipeline_tag": "image-feature-extraction",
        "library_name": "timm",
        "tags": ["ijepa", "openjepa"],
    }


@pytest.mark.parametrize(
    "licence", ["no", "1.0", "null", "mine: all of it", "a #b", '"', "- x", "ours\nname: evil", "été"]
)
def test_any_licence_is_one_text(licence):
    card = front_matter(dataclasses.replace(CARD, licence=licence))
    assert card["license"] == licence and card["tags"] == ["ijepa", "openjepa"] and "name" not in card


def test_what_a_card_shows_is_no_markup():
    foreign = "a|b\n<script>![t](http://x) [l](http://y) `c`\n# d\nlicense: mine"
    text = write_card(
        dataclasses.replace(CARD, name=foreign, licence=foreign, model=[(foreign, foreign)], data=[foreign])
    )
    _, front, body = text.split("---\n")
    assert yaml.safe_load(front)["license"] == foreign
    for markup in ("<script", "![t]", "[l]", " `c", "a|b", "\n# d", "\nlicense"):
        assert markup not in body, markup
