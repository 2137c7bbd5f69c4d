"""Advice names options that there are, with values other than what is set, and agrees with docs/troubleshooting.md."""

import dataclasses
import re
from pathlib import Path

import pytest

from openjepa.config import FIELDS, build_config
from openjepa.errors import option
from openjepa.training.monitoring.verdict import Extremes, Verdict, verdict

PAGE = (Path(__file__).parents[3] / "docs/troubleshooting.md").read_text()
MEASURED = {"rank": 10.0, "std": 0.4, "positional_fraction": 0.1, "energy_gap": 0.5, "ema_distance": 0.3}
TURNED = Extremes(std=0.5, positional_fraction=0.3)
CASES = {
    "collapsed": {"std": 0.001},
    "positional collapse": {"positional_fraction": 0.9, "energy_gap": 0.01},
    "unstable": {"ema_distance": 0.9},
    "dimensional collapse": {"rank": 4.0},
    "not learning": {"energy_gap": 0.01},
    "weak": {"rank": 8.0},
    "turning positional": {"positional_fraction": 0.7, "std": 0.2},
    "forgetting": {"rank": 5.0},
}
CONFIGS = [
    {"ema_momentum": (0.99, 1.0)},
    {"ema_momentum": (0.0, 0.0), "weight_init": "published", "optimizer": "adamw"},
    {"ema_momentum": (0.9995, 1.0), "image_size": "64", "patch_size": 8},
    {"ema_momentum": (1.0, 1.0), "image_size": "12x30", "patch_size": 3},
]


def advised(status: str, settings: dict) -> Verdict:
    imported = status == "forgetting"
    known = {**settings, "steps": 1000} | ({"init": "runs/a", "frozen": 100} if imported else {})
    extremes = TURNED if status == "turning positional" else Extremes()
    said = verdict(MEASURED | CASES[status], MEASURED, 0.9, imported, known, extremes)
    assert said.status == status
    return said


def options_in(text: str) -> set[str]:
    return set(re.findall(r"--[a-z-]+", text))


@pytest.mark.parametrize("status", CASES)
@pytest.mark.parametrize("config", CONFIGS)
def test_what_is_advised_can_be_set_and_is_not_what_is_set(status, config):
    settings = dataclasses.asdict(build_config({}, config))
    advice = advised(status, settings).advice
    names = {option(name): name for name in FIELDS}
    found = re.findall(r"(--[a-z-]+) ([a-z]+|[\d.]*\d(?: \d)?)\b", advice)
    assert found and {name for name, _ in found} == options_in(advice) <= names.keys()
    for given, value in found:
        now = settings | {"steps": 1000}
        is_pair = given == "--ema-momentum"
        parsed = tuple(map(float, value.split())) if is_pair else type(now[names[given]])(value)
        changed = build_config({}, {**settings, "init": None, names[given]: parsed})
        assert getattr(changed, names[given]) != now[names[given]], (given, value)
    for name in FIELDS:
        assert "_" not in name or name not in advice  # ema_momentum is how Python spells an option


@pytest.mark.parametrize("status", CASES)
@pytest.mark.parametrize("config", CONFIGS)
def test_the_page_advises_the_same_options(status, config):
    section = re.search(rf"\*\*{status.capitalize()}\.\*\*(.*?)(?=\n\*\*|\nAdvice )", PAGE, re.DOTALL)
    assert section
    settings = dataclasses.asdict(build_config({}, config))
    assert options_in(advised(status, settings).advice) <= options_in(section[1])


def test_a_target_that_cannot_follow_is_not_advised_a_slower_one():
    high = advised("unstable", {"ema_momentum": [0.9995, 1.0], "lr": 5e-4}).advice
    assert "--ema-momentum 0.99 1 (it is 0.9995 1)" in high and "--lr 0.00025 (it is 0.0005)" in high
    assert "--ema-momentum" not in advised("unstable", {"ema_momentum": [0.9, 1.0], "lr": 5e-4}).advice


def test_targets_that_fall_to_position_are_to_move_slower():
    """As positional-ema-0 did, whose target encoder is the context encoder (docs/results/alarms.md)."""
    advice = advised("positional collapse", {"ema_momentum": [0.0, 0.0]}).advice
    assert "where it falls to nothing, --ema-momentum 0.99 1 (it is 0 0)" in advice


def test_one_advice_does_not_lead_to_the_opposite_one():
    """A lower rate where few directions are left, and no higher one where a run did not learn yet but can go on."""
    settings = dataclasses.asdict(build_config({}, {"lr": 0.0005}))
    assert options_in(advised("not learning", settings).advice) == {"--steps"}
    faster = advised("dimensional collapse", settings | {"lr": 0.001}).advice
    assert faster.startswith("In a new run") and "--lr 0.0005 (it is 0.001)" in faster
    often = advised("not learning", settings | {"passes": 400}).advice
    assert "--lr 0.001 (it is 0.0005)" in often and "more images" in often
