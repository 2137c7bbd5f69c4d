"""What tune tries: one change at a time, each possible and each a change."""

import dataclasses

import pytest

from openjepa.config import build_config
from openjepa.recipe_settings import RECIPES, recipe
from openjepa.studies.tune.space import RECIPE, candidates, combination, fits, split, values_of


def base_of(name="laptop", **given):
    return build_config(recipe(name), given | {"steps": 1})


@pytest.mark.parametrize("name", RECIPES)
def test_each_is_one_setting_that_differs_and_fits(name):
    base = base_of(name)
    tried, own = candidates(base, ()), values_of(base)
    assert tried.pop(RECIPE) == {} and len(tried) >= 10
    for changes in tried.values():
        beside, setting, value = split(changes)
        assert beside in ({}, {"masks": "multiblock"}) and fits(base, changes)
        assert value != (values_of(dataclasses.replace(base, **beside)) if beside else own)[setting]
        assert dataclasses.replace(base, **changes) != base


def test_what_is_given_stays_and_what_does_not_fit_is_left_out():
    given = {"lr": 1e-3, "context_ratio": 0.25, "masks": "multiblock"}
    tried = candidates(base_of(**given), given)
    settings = {setting for changes in tried.values() for setting in changes}
    assert not settings & given.keys()
    assert "target_scale 0.2 0.3" not in tried  # leaves no room for a context of a quarter
    assert "target_scale 0.2 0.3" in candidates(base_of(context_ratio=0.1, masks="multiblock"), {"context_ratio"})


def test_settings_without_effect_are_not_tried():
    def settings_of(**given):
        return {setting for changes in candidates(base_of(**given), given).values() for setting in changes}

    assert settings_of(masks="random") & {"num_targets", "target_scale", "context_scale"} == {"target_scale"}
    assert "ema_momentum" not in settings_of(method="mae")
    assert {"ema_momentum", "num_targets"} <= settings_of(masks="multiblock")


def test_blocks_are_tried_with_masks_that_have_them():
    tried = candidates(base_of("laptop"), ())
    assert tried["num_targets 2, multiblock"] == {"masks": "multiblock", "num_targets": 2}
    assert tried["target_scale 0.1 0.2, multiblock"]["target_scale"] == (0.1, 0.2)
    assert tried["target_scale 0.25 0.25"] == {
        "target_scale": (0.25, 0.25)
    }  # a share of the patches, under random masks
    assert "num_targets 4, multiblock" not in tried  # what masks multiblock has anyhow
    roomy = candidates(base_of("laptop", context_ratio=0.1), {"context_ratio"})
    assert {"context_scale 0.65 1, multiblock", "num_targets 6, multiblock"} <= roomy.keys()


def test_the_best_of_every_setting_that_helped_are_joined():
    tried = {
        "lr 1": {"lr": 1.0},
        "lr 2": {"lr": 2.0},
        "few": {"num_targets": 2},
        "raster": {"masks": "rasterized"},
        "batch": {"batch_size": 8},
    }
    gains = {"lr 1": 0.02, "lr 2": 0.05, "few": 0.04, "raster": 0.03, "batch": 0.001}
    # rasterized masks have three targets, so they cannot join the two that gained more
    assert combination(base_of(masks="multiblock"), tried, gains, noise=0.01) == {"lr": 2.0, "num_targets": 2}
    blocks = {"multi": {"masks": "multiblock"}, "two": {"masks": "multiblock", "num_targets": 2}}
    assert combination(base_of(), blocks, {"multi": 0.02, "two": 0.03}, noise=0.01) == blocks["two"]
    assert combination(base_of(), blocks, {"two": 0.03}, noise=0.01) is None
    assert combination(base_of(), tried, {"lr 2": 0.05, "few": 0.001}, noise=0.01) is None
