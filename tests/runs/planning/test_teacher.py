"""Runs with --teacher: what it may be, what is recorded of it, and that runs with it resume bit for bit."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file
from support.foreign import change_config, timm_folder, transformers_folder

import openjepa
from openjepa.config import build_config
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError
from openjepa.interop.load import load_encoder
from openjepa.recipe_settings import recipe
from openjepa.runs.checkpoints import load_encoder_at
from openjepa.runs.planning.frozen_teacher import FrozenTeacher
from openjepa.runs.planning.teacher import open_teacher, with_grid
from openjepa.training.callbacks import Callback, StopTraining

SHORT = {"image_size": 32, "patch_size": 8, "batch_size": 8, "workers": 0, "device": "cpu", "precision": "float32"}


def config(**given):
    return build_config(recipe("laptop", {}), {"image_size": "32", "patch_size": 8, "device": "cpu", **given})


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A run whose encoder is wider than that of the students."""
    folder = tmp_path_factory.mktemp("teacher") / "run"
    openjepa.pretrain("scenes:24", out=folder, model="vit_micro", steps=1, **SHORT)
    return str(folder)


@pytest.fixture(scope="module")
def deit3(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "deit3"
    timm_folder(folder, "deit3_small_patch16_224")
    return str(folder)


def weights(run):
    return load_file(run / "encoder/model.safetensors") | load_file(run / "encoder/predictor.safetensors")


@pytest.mark.usefixtures("reports")
def test_a_run_resumes_bit_for_bit_and_says_who_taught(teacher, tmp_path, capsys):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    how = {**SHORT, "teacher": teacher, "keep_every": 3}
    openjepa.pretrain("scenes:24", out=whole, steps=6, **how)
    assert f"learns from {teacher}, frozen: 1.8 M, 192 wide, at 32 px" in capsys.readouterr().out.replace("\n", "")
    openjepa.pretrain("scenes:24", out=parts, steps=6, callbacks=[StopAfter(3)], **how)
    openjepa.pretrain("scenes:24", out=parts, resume=True, workers=0)
    one, other = weights(whole), weights(parts)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    stored = json.loads((whole / "config.json").read_text())["teacher"]
    assert stored["name"] == teacher and stored["embed_dim"] == 192 and stored["image_size"] == [32, 32]
    facts = json.loads((whole / "encoder/openjepa.json").read_text())
    assert facts["teacher"] == {"name": teacher, "licence": None} and facts["predictor"]["out_dim"] == 192
    assert "192 wide" in (whole / "report.html").read_text()
    openjepa.export(str(whole), to="hf", out=tmp_path / "hf")
    assert "teacher" in (tmp_path / "hf/README.md").read_text()
    assert load_encoder_at(str(whole), 3, torch.device("cpu"), torch.float32).grid_size == (4, 4)


class StopAfter(Callback):
    """Stops a run after a step."""

    def __init__(self, step):
        self.last = step

    def on_step(self, step, loss):
        if step == self.last:
            raise StopTraining("for the test")


def test_a_model_of_another_library_teaches_by_its_own_preprocessing(deit3):
    encoder = open_teacher(config(teacher=deit3))
    frozen = FrozenTeacher(encoder, [0.4, 0.5, 0.6], [0.1, 0.2, 0.3])
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    student = Encoder(encoder.network, [0.4, 0.5, 0.6], [0.1, 0.2, 0.3])
    expected = load_encoder(deit3).tokens(pixels)
    assert torch.allclose(frozen(student.standardised(pixels)), expected, atol=1e-5)


def test_a_teacher_is_used_at_the_size_that_gives_the_grid_of_the_run(deit3):
    settings = config(teacher=deit3, image_size="48x32", patch_size=4)
    encoder = with_grid(open_teacher(settings), settings)
    assert encoder.image_size == (96, 64) and encoder.grid_size == (12, 8)
    assert FrozenTeacher(encoder, [0.5] * 3, [0.5] * 3)(torch.randn(2, 3, 48, 32)).shape == (2, 96, 32)


def test_a_teacher_has_the_grid_of_the_size_that_the_images_decide(deit3, tmp_path):
    how = {name: value for name, value in SHORT.items() if name != "image_size"} | {"patch_size": 16}
    run = openjepa.pretrain("scenes:24", out=tmp_path / "run", steps=1, teacher=deit3, **how)
    assert run.config.image_size == "64" and run.stored()[1].teacher.image_size == (32, 32)


def test_what_cannot_teach_is_refused(deit3, tmp_path):
    timm_folder(tmp_path / "resnet18", "resnet18")
    transformers_folder(tmp_path / "aimv2", "aimv2_vision_model")
    for given, reason in (
        ({"teacher": str(tmp_path / "resnet18")}, "has no patch tokens"),
        ({"teacher": str(tmp_path / "aimv2"), "patch_size": 4}, r"4x4 patches of 8 px, and the run 8x8: give another"),
        ({"teacher": str(tmp_path / "nothing")}, "does not exist"),
        ({"teacher": "untrained:vit_nano_patch8"}, "has learned nothing to teach"),
        ({"teacher": deit3, "method": "mae"}, "leave out --method mae"),
        ({"teacher": deit3, "init": deit3}, "leave one of them out"),
    ):
        with pytest.raises(UsageError, match=reason) as caught:
            openjepa.pretrain("scenes:24", out=tmp_path / "run", steps=1, **SHORT | given)
        assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="would do nothing: the target encoder is a frozen teacher"):
        openjepa.pretrain("scenes:24", out=tmp_path / "run", steps=1, teacher=deit3, ema_momentum=(0.9, 1), **SHORT)
    with pytest.raises(UsageError, match=r"reads 3 channels .* give --channels 3"):
        openjepa.pretrain("scenes:24", out=tmp_path / "run", steps=1, teacher=deit3, channels=1, **SHORT)


def test_another_teacher_is_no_resumption(tmp_path):
    timm_folder(tmp_path / "deit3", "deit3_small_patch16_224")
    how = {**SHORT, "steps": 2, "teacher": str(tmp_path / "deit3")}
    openjepa.pretrain("scenes:24", out=tmp_path / "run", **how)
    change_config(tmp_path / "deit3", "pretrained_cfg", mean=[0.1, 0.1, 0.1])
    with pytest.raises(UsageError, match="has other weights than when the run was started"):
        openjepa.pretrain("scenes:24", out=tmp_path / "run", resume=True, workers=0)
    os.rename(tmp_path / "deit3", tmp_path / "moved")
    with pytest.raises(UsageError, match="does not exist"):
        openjepa.pretrain("scenes:24", out=tmp_path / "run", resume=True, workers=0)
