"""A setting is refused where it would do nothing, and nowhere else; the plan speaks of EMA where there is one."""

import pytest
import torch
from plain import PLAIN

import openjepa
from openjepa.config import build_config
from openjepa.data.open import open_dataset
from openjepa.errors import UsageError, option
from openjepa.recipe_settings import RECIPES, recipe
from openjepa.runs.planning.build import build_batches, build_stepper
from openjepa.runs.planning.plan import ema_lines
from openjepa.runs.planning.unused_settings import check_settings, without_effect

OTHER = {
    "num_targets": 2,
    "target_aspect_ratio": (1.6, 2.0),
    "target_scale": (0.1, 0.1),
    "context_scale": (0.5, 0.55),
    "context_ratio": 0.2,
    "target_sequences": "separate",
    "loss": "l2",
    "ema_momentum": (0.5, 0.5),
    "lr_start": 1e-3,
}
CASES = {
    "multiblock": {},
    "block": {"masks": "block"},
    "random": {"masks": "random"},
    "rasterized": {"masks": "rasterized"},
    "reference": {"masks": "reference"},
    "mae": {"method": "mae"},
    "hybrid": {"method": "hybrid", "masks": "random"},
    "abrupt": {"warmup": 0.0},
}
FIXED = {"batch_size": 3, "predictor_depth": 1, "steps": 100, "precision": "float32"}


def stepped(config):
    """What a step makes of a network, and of the masks that it had."""
    stepper, batches = (
        build_stepper(config, 100, [0.5] * 3, [0.25] * 3),
        build_batches(open_dataset("scenes:5"), config),
    )
    stepper(0, batches[0])
    return [*stepper.model.state_dict().values(), *batches[0].masks[:2]]


def alike(some, others):
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(some, others, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_what_is_refused_does_nothing_and_what_is_not_does_something(case):
    settings = CASES[case] | FIXED
    before, idle = stepped(build_config(PLAIN, settings)), without_effect(build_config(PLAIN, settings))
    for name, value in OTHER.items():
        config = build_config(PLAIN, settings | {name: value})
        try:
            same = alike(before, stepped(config))
        except UsageError:
            same = name in ("num_targets", "context_ratio") and name in idle  # another number is refused as such
        assert same == (name in idle), name


def test_only_what_is_given_is_refused_and_in_a_line():
    for name in RECIPES:
        for method in ("ijepa", "mae"):
            check_settings(build_config(recipe(name), {"method": method}), {})
    given = {"method": "mae", "ema_momentum": (0.9, 1.0)}
    with pytest.raises(
        UsageError, match=r"^--ema-momentum 0.9 1 would do nothing: mae predicts pixels.*; leave it out$"
    ):
        check_settings(build_config(PLAIN, given), given)
    with pytest.raises(UsageError, match=r"--init-freeze 0.2 would do nothing: it needs --init"):
        check_settings(build_config(PLAIN, {"init_freeze": 0.2}), {"init_freeze": 0.2})


@pytest.mark.parametrize("command", [openjepa.pretrain, openjepa.tune, openjepa.bench])
def test_commands_refuse_it(command, photos, tmp_path):
    out = {} if command is openjepa.bench else {"out": tmp_path / "out"}
    for name, given in {
        "loss": {"method": "mae", "loss": "l2"},
        "context_scale": {"context_scale": (0.5, 1)},
    }.items():
        with pytest.raises(UsageError, match=f"{option(name)} .* would do nothing"):
            command(str(photos), recipe="laptop", **out, **given)
    assert not (tmp_path / "out").exists()


def test_the_plan_sets_the_ema_against_the_run_and_says_what_to_do():
    usual = build_config(PLAIN, {})
    assert ema_lines(usual, 690) == ["  EMA half-life 69 steps at the start, 10 half-lives in the run"]
    assert ema_lines(usual, 7500) == ["  EMA half-life 100 steps at the start, 75 half-lives in the run"]
    given = build_config(PLAIN, {"ema_momentum": (0.99, 1.0)})
    assert ema_lines(given, 7500) == ["  EMA half-life 69 steps at the start, 109 half-lives in the run"]
    assert "train for 345 steps or more" in ema_lines(usual, 300)[1] and "--ema" not in ema_lines(usual, 300)[1]
    slow = ema_lines(build_config(PLAIN, {"ema_momentum": (0.996, 1.0)}), 300)[1]
    assert "train for 865 steps or more, or give --ema-momentum 0.99 1" in slow
    assert ema_lines(build_config(PLAIN, {"ema_momentum": (1.0, 1.0)}), 300) == ["  EMA momentum 1"]
    assert len(ema_lines(build_config(PLAIN, {"init": "somewhere"}), 300)) == 1  # its targets are learned ones already


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"device": "cpu"}, "a CPU has no CUDA graphs"),
        ({"masks": "multiblock"}, "differ in shape"),
        ({"accumulate": 2}, "added up over parts"),
    ],
)
def test_a_cuda_graph_is_refused_where_there_can_be_none(settings, why):
    config = build_config(recipe("laptop"), settings | {"steps": 10})
    with pytest.raises(UsageError, match=f"--cuda-graph True would do nothing: .*{why}"):
        check_settings(config, {"cuda_graph": True})
    check_settings(build_config(recipe("laptop"), {"steps": 10}), {"cuda_graph": True})
