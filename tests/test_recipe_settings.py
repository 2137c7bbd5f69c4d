"""Recipes are possible settings, and the one that is picked fits the images and the device."""

import pytest

import openjepa
from openjepa.config import Config, build_config
from openjepa.data.summary import Summary
from openjepa.errors import UsageError
from openjepa.recipe_settings import RECIPES, config_of, pick_recipe, recipe
from openjepa.runs.images import mask_settings, pick_for
from openjepa.runs.planning.plan import schedule_of
from openjepa.runs.settings import read_config


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_built(name):
    config = build_config(recipe(name), {})
    assert mask_settings(config).context_length >= 1
    assert schedule_of(config, 100).at(99)["lr"] == pytest.approx(config.lr_end)


@pytest.mark.parametrize(
    ("given", "model", "predictor"),
    [
        ({"time": "10m"}, "vit_nano", 64),
        ({"time": "20m"}, "vit_micro", 128),
        ({"time": "20m", "method": "mae"}, "vit_micro", 64),
        ({"time": "20m", "predictor_dim": 32}, "vit_micro", 32),
        ({"time": "1h", "model": "vit_nano"}, "vit_nano", 64),
        ({"steps": 10**6}, "vit_nano", 64),
        ({"steps": 10, "model": "vit_micro"}, "vit_micro", 128),
    ],
)
def test_laptop_is_wider_where_there_is_time(given, model, predictor):
    config = build_config(recipe("laptop", given), given)
    assert (config.model, config.predictor_dim) == (model, predictor)


@pytest.mark.parametrize(
    ("given", "context", "batch_size"),
    [
        ({}, 10, 16),
        ({"method": "hybrid"}, 10, 16),
        ({"method": "mae"}, 16, 64),
        ({"method": "mae", "time": "1h", "batch_size": 32}, 16, 32),
        ({"masks": "rasterized"}, 16, 16),
        ({"masks": "multiblock"}, 10, 16),
    ],
)
def test_laptop_follows_the_method_and_fits_every_kind_of_masks(given, context, batch_size):
    config = build_config(recipe("laptop", given), given)
    assert mask_settings(config).context_length == context and config.batch_size == batch_size


def test_the_defaults_are_those_of_laptop():
    assert build_config(recipe("laptop"), {}) == Config()
    assert (Config().masks, Config().masks_per_image, Config().lr) == ("random", 4, 5e-4)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("small", {"masks": "random", "masks_per_image": 4, "context_ratio": 0.15, "lr": 5e-4, "crop_scale": (0.3, 1)}),
        ("small", {"optimizer": "muon", "weight_decay": (0.2, 0.2), "predictor_depth": 2, "horizontal_flip": True}),
        ("paper", {"masks": None, "masks_per_image": 1, "context_ratio": 0.25, "lr": 1e-3, "crop_scale": (0.3, 1)}),
        ("paper", {"optimizer": "adamw", "weight_decay": (0.04, 0.4), "predictor_depth": 6, "batch_size": 2048}),
        ("reference", {"masks": "reference", "masks_per_image": 1, "context_ratio": 0.25, "crop_scale": (0.3, 1)}),
        ("reference", {"optimizer": "adamw", "predictor_depth": 2, "predictor_dim": 64, "batch_size": 256}),
    ],
)
def test_a_recipe_does_not_inherit_what_was_chosen_for_laptop(name, settings):
    assert settings.items() <= vars(build_config(recipe(name), {})).items()


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean laptop"):
        recipe("labtop")


@pytest.mark.parametrize(
    ("side", "images", "device", "seconds", "image_size", "model", "reason"),
    [
        (28, 50_000, "cpu", None, "32", "vit_nano", "trains on cpu"),
        (500, 50_000, "cpu", 10**5, "64", "vit_nano", "trains on cpu"),
        (32, 50_000, "cuda", None, "32", "vit_nano", "images are 32 px"),
        (500, 50_000, "cuda", None, "128", "vit_small", "there is a GPU"),
        (500, 2_000, "cuda", 900, "128", "vit_small", "there is a GPU"),
        (500, 1_999, "cuda", None, "64", "vit_nano", "only 1,999 images"),
        (500, 50_000, "cuda", 600, "64", "vit_nano", "only 600 s"),
    ],
)
def test_images_device_and_time_pick(side, images, device, seconds, image_size, model, reason):
    pick = pick_recipe(side, images, device, seconds)
    config = build_config(recipe(pick.name) | pick.changes, {})
    assert (config.image_size, config.model) == (image_size, model)
    assert f"the images are {side} px" in pick.why and reason in pick.why


def test_pretrain_says_which_and_why(photos, tmp_path, capsys):
    out = openjepa.pretrain(str(photos), out=tmp_path / "run", steps=1, workers=0, device="cpu", predictor_depth=1)
    why = "recipe laptop, vit_nano at 32 px with patches of 4, because this trains on cpu and the images are 20 px"
    assert why in capsys.readouterr().out
    stored = read_config(out / "config.json")[0]
    assert stored.masks_per_image == 4 and stored.ema_momentum == (0.99, 1.0)


def test_an_image_size_is_refused_for_the_patches_that_its_images_would_get(photos, tmp_path):
    """Images of 48 px and more get patches of 8 px; a size for patches of 4 px would be refused again."""
    said = "image size 92 is not a multiple of patch size 8: give --image-size 96, or --patch-size 4"
    for given in ({}, {"patch_size": 8}):
        with pytest.raises(UsageError, match=said):
            openjepa.pretrain(str(photos), out=tmp_path / "run", image_size=92, **given)
    assert config_of(None, {"image_size": 92, "patch_size": 4}).grid_size == (23, 23)


def test_the_reason_is_true_where_options_override_the_recipe(capsys):
    summary = Summary("photos", 5000, [(1024, 1024, 5000)], {"RGB": 5000}, {}, [], [], 0)
    pick_for(summary, {"image_size": 256, "model": "vit_tiny", "device": "cpu"})
    said = capsys.readouterr().out
    shape = "vit_tiny at 256 px with patches of 8"
    assert said == f"recipe laptop, {shape}, because this trains on cpu and --image-size is 256\n"


@pytest.mark.parametrize(
    ("model", "patch_size", "depth", "heads", "epochs"),
    [
        (None, 16, 6, 12, 600),
        ("vit_large", 16, 12, 16, 600),
        ("vit_huge", 14, 12, 16, 300),
        ("vit_giant", 16, 16, 16, 600),
    ],
)
def test_paper_follows_the_model(model, patch_size, depth, heads, epochs):
    config = build_config(recipe("paper", {"model": model}), {"model": model})
    assert (config.patch_size, config.predictor_depth, config.predictor_heads) == (patch_size, depth, heads)
    assert config.epochs == epochs and config.predictor_dim == 384
    given = {"model": model, "patch_size": 16, "image_size": 448}
    assert build_config(recipe("paper", given), given).grid_size == (28, 28)
