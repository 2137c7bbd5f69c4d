"""A run folder is read back: the command that repeats the run, its settings, the time it took."""

import dataclasses
import shlex
from pathlib import Path

import pytest

from openjepa.cli import parse
from openjepa.config import FIELDS, build_config
from openjepa.data.decoding.pixel_format import RGB
from openjepa.data.summary import Summary
from openjepa.recipe_settings import config_of, recipe
from openjepa.runs.folder import RunFolder, training_seconds
from openjepa.runs.images import mask_settings

IMAGES = Summary("photos", 24, [(20, 20, 24)], {"RGB": 24}, {}, [], [], 24)


def run_with(settings):
    """A run folder with these settings that is not on disk."""
    config = build_config(recipe("laptop", settings), settings)
    masks = mask_settings(config)
    return RunFolder(
        Path("runs/photos"), config, masks, "my photos", False, IMAGES, RGB, 4, "/bin/openjepa x", [], [], None
    )


@pytest.mark.parametrize(
    "others",
    [
        {"crop_scale": (0.2, 1.0), "workers": 0},
        {"method": "mae", "batch_size": 16},
        {"model": "vit_micro", "predictor_dim": 64},
        {"masks": "rasterized"},
        {"horizontal_flip": True, "compile": True},
    ],
)
def test_the_command_gives_the_same_settings_again(others):
    run = run_with({"steps": 4} | others)
    _, options = parse(shlex.split(run.repeat_command())[1:])
    assert options.data == "my photos"
    assert config_of(options.recipe, {name: getattr(options, name) for name in FIELDS}) == run.config


def test_settings_say_whether_they_differ_from_the_default():
    run = run_with({"steps": 4, "crop_scale": (0.25, 1.0)})
    settings = {setting.option: setting for setting in run.settings()}
    assert len(settings) == len(dataclasses.fields(run.config))
    assert (settings["--crop-scale"].value, settings["--crop-scale"].changed) == ("0.25 1", True)
    assert (settings["--epochs"].value, settings["--epochs"].changed) == ("–", False)


def test_training_time_is_what_the_speeds_add_up_to():
    records = [{"step": 0}, {"step": 10, "images_per_second": 100.0}, {"step": 30, "images_per_second": 50.0}]
    assert training_seconds(records, batch_size=20) == pytest.approx(10 * 20 / 100 + 20 * 20 / 50)
