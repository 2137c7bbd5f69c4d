"""Monitors tell planted cases apart, and the verdict names them."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from openjepa.config import build_config
from openjepa.data.sources.objects import as_dataset
from openjepa.masking.settings import MaskSettings
from openjepa.methods.ijepa import IJEPA
from openjepa.models.predictor import Predictor
from openjepa.models.vit import SIZES, VisionTransformer
from openjepa.recipe_settings import recipe
from openjepa.runs.planning.build import build_run
from openjepa.runs.planning.build_model import build_model
from openjepa.runs.planning.plan import ema_lines
from openjepa.training.monitoring.monitors import InParts, Monitor, effective_rank, ema_distance, positional_fraction
from openjepa.training.monitoring.verdict import Extremes, verdict
from openjepa.training.monitoring_intervals import monitor_interval, monitored_images, probe_interval


def test_effective_rank_counts_directions():
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(64, 32))[0]
    for rank in (1, 5, 20):
        coordinates = torch.linalg.qr(torch.randn(256, rank) - 0.0)[0]
        embeddings = coordinates @ basis.T[:rank] + 100.0  # a shared mean is not information
        assert effective_rank(embeddings) == pytest.approx(rank, rel=0.1)
    assert effective_rank(torch.ones(50, 8)) < 1.01


def test_positional_fraction_splits_what_from_where():
    torch.manual_seed(0)
    where, what = torch.randn(1, 30, 16), torch.randn(500, 1, 16)
    noise = torch.randn(500, 30, 16)
    assert positional_fraction(where.expand(500, -1, -1)) == pytest.approx(1.0, abs=1e-3)
    assert positional_fraction(what.expand(-1, 30, -1)) < 0.01
    assert positional_fraction(where + noise) == pytest.approx(0.5, abs=0.05)


def measured(change):
    torch.manual_seed(0)
    vit = VisionTransformer((16, 16), 4, embed_dim=32, depth=2, num_heads=2)
    model = IJEPA(vit, Predictor((4, 4), 32, dim=16, depth=1, num_heads=2))
    untrained = Monitor(torch.randn(64, 3, 16, 16), MaskSettings((4, 4)), 0)
    before = untrained(model)
    with torch.no_grad():
        change(model)
    return before, untrained(model), model


def test_a_collapsed_encoder_is_called_collapsed():
    def collapse(model):
        model.target_encoder.norm.weight.zero_()
        model.target_encoder.norm.bias.normal_()

    before, after, _ = measured(collapse)
    assert after["std"] < 1e-3
    assert verdict(after, before, 0.0)[0] == "collapsed"


def test_a_blind_encoder_is_called_positional_collapse():
    def blind(model):
        model.target_encoder.patch_embed.proj.weight.mul_(0.05)

    before, after, _ = measured(blind)
    assert after["positional_fraction"] > 0.9 > 0.6 > before["positional_fraction"]
    said = verdict(after, before, 0.5)
    assert said.status == "positional collapse" and "--weight-init" in said.advice
    assert verdict(after, before, 0.05)[0] == "early"


def test_healthy_and_weak():
    untrained = {"rank": 10.0, "std": 0.4, "positional_fraction": 0.3, "energy_gap": 0.0}
    good = {"rank": 25.0, "std": 0.5, "positional_fraction": 0.05, "energy_gap": 0.5, "ema_distance": 0.3}
    assert verdict(good, untrained, 1.0)[0] == "healthy"
    assert verdict(good | {"rank": 6.0}, untrained, 0.4)[0] == "healthy"
    assert verdict(good | {"rank": 6.0}, untrained, 0.6)[0] == "weak"
    assert verdict(good | {"rank": 8.0}, untrained, 0.6)[0] == "healthy"
    assert verdict(good | {"rank": 8.0}, untrained, 0.8)[0] == "weak"
    assert verdict(good | {"rank": 4.0}, untrained, 0.1)[0] == "early"
    assert verdict(good | {"rank": 4.0}, untrained, 0.2)[0] == "healthy"
    assert verdict(good | {"rank": 4.0}, untrained, 0.3)[0] == "dimensional collapse"
    assert verdict(good | {"rank": 4.0, "energy_gap": 0.01}, untrained, 0.2)[0] == "dimensional collapse"
    assert verdict(good | {"energy_gap": 0.01}, untrained, 1.0)[0] == "not learning"
    assert verdict(good | {"energy_gap": 0.01, "positional_fraction": 0.6}, untrained, 1.0)[0] == "positional collapse"
    assert verdict(good | {"ema_distance": 0.6}, untrained, 0.3)[0] == "unstable"
    assert verdict(good | {"std": 0.01}, untrained, 1.0)[0] == "collapsed"


RESULTS = Path(__file__).parents[3] / "benchmarks/results"
LEARNED = 0.05  # of linear accuracy over the untrained encoder's


def verdicts_of(case):
    """Today's rules on the monitors of a real run: its gain by linear probe, and (share of the run, status)."""
    told = json.loads((RESULTS / f"alarms-{case}.json").read_text())
    first, *later = told["records"]
    said, extremes = [], Extremes()
    for record in later:
        fraction = record["step"] / told["steps"]
        said.append((fraction, verdict(record, first, fraction, extremes=extremes).status))
        extremes = extremes.after(record)
    return later[-1]["linear"] - first["linear"], said


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("published-adamw", "dimensional collapse"),
        ("no-stop-gradient", "collapsed"),
        ("lr-x30", "unstable"),
        ("positional-fainter", "positional collapse"),
        ("positional-slow", "positional collapse"),
        ("positional-ema-0", "positional collapse"),
        ("late-lr-x30", "unstable"),
    ],
)
def test_runs_that_were_broken_on_purpose_are_named_before_half_time(case, name):
    gain, said = verdicts_of(case)
    alarms = [(fraction, status) for fraction, status in said if status not in ("early", "healthy")]
    assert gain < LEARNED and alarms[0][0] < 0.5 and alarms[0][1] == name


def test_a_run_that_breaks_at_half_time_is_flagged_by_the_next_record_and_not_before():
    _, said = verdicts_of("late-stop-gradient")
    before, after = ({status for fraction, status in said if (fraction > 0.5) is late} for late in (False, True))
    assert before == {"healthy"} and after == {"positional collapse", "collapsed"}


def test_runs_that_learn_are_not_flagged_after_their_first_quarter():
    cases = {path.stem.removeprefix("alarms-") for path in RESULTS.glob("alarms-*.json")}
    cases.remove("late-stop-gradient")  # learns for half of its length, and keeps some of it when it breaks
    learned = []
    for case in cases:
        gain, said = verdicts_of(case)
        if gain >= LEARNED:
            learned.append(case)
            assert {status for fraction, status in said if fraction > 0.25} == {"healthy"}, case
    assert len(learned) >= 3


def test_ema_distance_is_relative():
    _, _, model = measured(lambda model: None)
    assert ema_distance(model) == 0
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.target_encoder.parameters():
            parameter.mul_(1.1)
    assert ema_distance(other) == pytest.approx(0.1, rel=1e-4)


def test_measuring_changes_nothing():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    vit = VisionTransformer((16, 16), 4, embed_dim=32, depth=1, num_heads=2)
    model = IJEPA(vit, Predictor((4, 4), 32, dim=16, depth=1, num_heads=2))
    monitor = Monitor(torch.zeros(8, 3, 16, 16), MaskSettings((4, 4)), 0)
    state, weights = torch.get_rng_state(), {k: v.clone() for k, v in model.state_dict().items()}
    monitor(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weights[k], v) for k, v in model.state_dict().items())


MEASURED = {"rank": 10.0, "std": 0.4, "positional_fraction": 0.1, "energy_gap": 0.5, "ema_distance": 0.3}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"rank": 4.0}, "dimensional collapse"),
        ({"positional_fraction": 0.9, "energy_gap": 0.01}, "positional collapse"),
        ({"energy_gap": 0.01}, "not learning"),
        ({"rank": 8.0}, "weak"),
    ],
)
def test_advice_knows_what_is_set(change, status):
    ours = {"weight_init": "unit", "optimizer": "muon", "lr": 5e-4, "steps": 1000}
    for settings in ({}, ours):
        said = verdict(MEASURED | change, MEASURED, 0.9, settings=settings)
        assert said.status == status and "{" not in said.text
    assert "--weight-init" not in said.text and "--optimizer" not in said.text
    if status != "dimensional collapse":
        assert "twice as long (--steps 2000)" in said.advice
    published = verdict(MEASURED | change, MEASURED, 0.9, settings=ours | {"weight_init": "published"})
    assert ("--weight-init unit" in published.advice) == status.endswith("collapse")


def test_the_verdict_and_the_plan_ask_for_the_same_steps():
    settings = {"steps": 300, "lr": 5e-4, "ema_momentum": [0.99, 1.0]}
    weak = MEASURED | {"rank": 5.0}
    assert "Train for 345 steps or more (--steps 345)" in verdict(weak, MEASURED, 1.0, settings=settings).advice
    assert "train for 345 steps or more" in ema_lines(build_config(recipe("laptop"), {}), 300)[1]
    assert "--steps 800" in verdict(weak, MEASURED, 1.0, settings=settings | {"steps": 400}).advice
    without = {name: value for name, value in weak.items() if name != "ema_distance"}  # a method without target encoder
    assert "--steps 600" in verdict(without, MEASURED, 1.0, settings=settings).advice
    assert "--steps 600" in verdict(weak, MEASURED, 1.0, settings=settings | {"init": "runs/a"}).advice


def test_images_that_were_seen_often_are_not_to_be_seen_more_often():
    settings = {"steps": 8000, "lr": 5e-4, "ema_momentum": [0.994, 1.0], "passes": 351.6}
    advice = verdict(MEASURED | {"rank": 5.0}, MEASURED, 1.0, settings=settings).advice
    assert "Train on more images (each was seen 352 times" in advice and "--steps" not in advice


def test_position_that_takes_over_after_a_healthy_stretch_is_noticed():
    """As vit_micro beside a narrow predictor did, from step 3,000 to 11,754: rank and energy gap went on rising."""
    healthy = MEASURED | {"rank": 25.0, "std": 0.30, "positional_fraction": 0.49}
    extremes = Extremes().after(MEASURED | {"positional_fraction": 0.6}).after(healthy)
    late = healthy | {"rank": 30.0, "std": 0.17, "positional_fraction": 0.66, "energy_gap": 0.6}
    assert verdict(healthy, MEASURED, 0.6, extremes=extremes).status == "healthy"
    assert verdict(late, MEASURED, 0.4, extremes=extremes).status == "healthy"
    said = verdict(late, MEASURED, 0.9, settings={"predictor_dim": 64}, extremes=extremes)
    assert said.status == "turning positional" and "66%" in said.finding and "was 49%" in said.finding
    assert "--predictor-dim 128 (it is 64)" in said.advice
    wide = late | {"std": 0.38}  # while the embeddings differ as before, the images' position may well be learned
    assert verdict(wide, MEASURED, 0.9, extremes=extremes).status == "healthy"


def test_the_rank_is_that_of_all_images_and_the_rest_that_of_the_first():
    model = build_model(build_config({}, {"image_size": "16"}))
    images = torch.randn(300, 3, 16, 16)
    settings = MaskSettings((4, 4))
    first = Monitor(images[:64], settings, 0)(model)
    both = Monitor(images[:64], settings, 0, more=InParts(images[64:] * 2, lambda part: part / 2))(model)
    assert both.pop("rank") == pytest.approx(effective_rank(model.encoder(images).mean(dim=1).detach()), rel=1e-4)
    assert both == {name: value for name, value in first.items() if name != "rank"}


def test_a_wide_encoder_is_judged_by_twice_as_many_images_as_it_is_wide(tmp_path):
    assert [monitored_images(SIZES[name][0]) for name in ("vit_nano", "vit_micro", "vit_base")] == [256, 384, 1536]
    config = build_config({}, {"model": "vit_micro", "predictor_dim": 128, "image_size": "16", "steps": 2})
    known = {"statistics": ([0.5] * 3, [0.25] * 3)}
    grey = [np.full((16, 16, 3), 99, np.uint8)] * 500
    runs = [build_run(config, as_dataset(grey[:count]), tmp_path, **known) for count in (300, 500)]
    assert [sum(map(len, [run.monitor.images, *run.monitor.more])) for run in runs] == [300, 384]


def test_measuring_more_images_is_as_much_rarer_as_it_costs_more():
    for steps in (100, 1_000, 20_000, 10**6):
        usual, rarer = (monitor_interval(steps, 64, count) for count in (256, 1536))
        assert usual <= rarer and probe_interval(steps, 64, 1536) % rarer == 0
    assert monitor_interval(20_000, 64, 1536) == pytest.approx(3.5 * monitor_interval(20_000, 64, 256), rel=0.5)
