"""Images are seen whole by default: the image size follows their proportions, and the plan says what is seen."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from plain import PLAIN
from support.photos import draw_photos

import openjepa
from openjepa.config import build_config
from openjepa.data.open import open_dataset
from openjepa.masking.samplers import STRATEGIES
from openjepa.recipe_settings import RECIPES
from openjepa.runs.folder import read_run_folder
from openjepa.runs.images import size_for
from openjepa.runs.planning.build import build_batches
from openjepa.runs.settings import read_config, stored_config

TINY = {"steps": 2, "workers": 0, "device": "cpu", "precision": "float32", "batch_size": 4}


@pytest.fixture
def lying(tmp_path):
    """24 pictures of 40x30 pixels (width x height)."""
    return draw_photos(tmp_path / "lying", side=30, width=40)


def pretrained(lying, out, **settings):
    return openjepa.pretrain(str(lying), out=out, **TINY, **settings)


@pytest.mark.parametrize("recipe", [None, "laptop"])
def test_the_image_size_follows_the_images(recipe, lying, tmp_path, capsys):
    run = pretrained(lying, tmp_path / "run", recipe=recipe)
    assert read_config(run / "config.json")[0].size == (28, 36)
    assert "images of 40x30 (width x height) are seen whole, stretched by 4%" in capsys.readouterr().out
    encoder, first = openjepa.load_encoder(run), open_dataset(lying).load(0)
    assert torch.equal(
        encoder.preprocess(first)[0], torch.from_numpy(np.array(first.resize((36, 28), 3))).permute(2, 0, 1)
    )
    assert "--image-size 28x36" in read_run_folder(run).repeat_command()


def test_the_plan_says_what_a_given_size_cuts_off(lying, tmp_path, capsys):
    pretrained(lying, tmp_path / "run", image_size=32)
    said = " ".join(capsys.readouterr().out.split())
    assert "cropped to the centre: 25% of each is not seen; --image-size 28x36 would show 100%" in said
    assert "--image-size 32 " in read_run_folder(tmp_path / "run").repeat_command()


def test_what_is_not_seen_is_said_wherever_images_are_given(lying, tmp_path, capsys):
    run = pretrained(lying, tmp_path / "run", image_size=32)
    capsys.readouterr()
    openjepa.embed(run, str(lying), out=tmp_path / "v.csv", workers=0, precision="float32")
    note = "note: images of 40x30 (width x height) are cropped to the centre: 25% of each is not seen"
    assert note in " ".join(capsys.readouterr().out.split())
    assert "25% of each is not seen" in openjepa.report(run).read_text()


@pytest.mark.parametrize("name", RECIPES)
def test_square_images_keep_the_recipes_size_and_published_sizes_are_kept(name):
    config = build_config(RECIPES[name].settings, {})
    assert size_for([(500, 500, 9)], config) == config.size
    keeps = RECIPES[name].published_size
    assert keeps == (name in ("paper", "reference")) == (config.max_stretch == 0)


def test_named_published_recipes_stay_square(lying, tmp_path, capsys):
    run = pretrained(lying, tmp_path / "run", recipe="reference")
    assert read_config(run / "config.json")[0].frame[:2] == ((32, 32), 0.0)
    assert "25% of each is not seen" in capsys.readouterr().out


def test_runs_that_state_no_rule_crop_as_they_did(lying, tmp_path):
    run = pretrained(lying, tmp_path / "run", image_size="28x36")
    stored = json.loads((run / "config.json").read_text())
    assert stored["settings"].pop("max_stretch") == 0.1 and stored.pop("schema_version")
    (run / "config.json").write_text(json.dumps(stored))
    assert read_config(run / "config.json")[0].max_stretch == 0 == stored_config(stored["settings"], run).max_stretch
    for written in ("encoder", "checkpoints"):  # by a run with another rule
        shutil.rmtree(run / written)
    openjepa.pretrain(str(lying), out=run, resume=True)
    assert openjepa.load_encoder(run).max_stretch == 0


@pytest.mark.parametrize("any_orientation", [False, True])
@pytest.mark.parametrize("masks", STRATEGIES)
def test_every_mask_strategy_has_a_size_for_lying_images(masks, any_orientation, lying):
    config = build_config(PLAIN, {"masks": masks, "any_orientation": any_orientation, "batch_size": 8})
    rows, columns = size_for([(40, 30, 24)], config)
    assert rows < columns
    config = dataclasses.replace(config, image_size=f"{rows}x{columns}")
    batch = build_batches(open_dataset(lying), config)[0]
    assert batch.images.shape[2:] == (rows, columns)
    assert batch.masks.target_ids.max() < config.grid_size[0] * config.grid_size[1]


def test_continued_weights_keep_their_rule(lying, tmp_path):
    first = pretrained(lying, tmp_path / "first", max_stretch=0, image_size="28x36")
    again = pretrained(lying, tmp_path / "again", init=str(first))
    assert read_config(again / "config.json")[0].frame[:2] == ((28, 36), 0.0)
