"""Recipes are possible settings, and the one that is picked fits the images and the device."""

import pytest

from openjepa.config import build_config
from openjepa.errors import UsageError
from openjepa.recipes import RECIPES, pick_recipe, recipe
from openjepa.verbs.parts import schedule_of
from openjepa.verbs.prepare import mask_settings


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_built(name):
    config = build_config(recipe(name), {})
    assert mask_settings(config).context_length >= 1
    assert schedule_of(config, 100).at(99)["lr"] == pytest.approx(config.lr_end)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean laptop"):
        recipe("labtop")


@pytest.mark.parametrize(
    ("side", "device", "image_size", "model"),
    [
        (28, "cpu", "32", "vit_nano"),
        (500, "cpu", "64", "vit_nano"),
        (32, "cuda", "32", "vit_nano"),
        (500, "cuda", "128", "vit_small"),
    ],
)
def test_images_and_device_pick(side, device, image_size, model):
    settings, why = pick_recipe(side, device)
    config = build_config(settings, {})
    assert (config.image_size, config.model) == (image_size, model)
    assert f"{side} px" in why and ("laptop" in why) == (model == "vit_nano")
