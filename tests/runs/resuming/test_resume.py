"""A run goes on over another length, and on images that changed, bit for bit as if it had not been interrupted."""

import json
import shutil
from itertools import pairwise

import pytest
import timm
from support.foreign import timm_folder
from support.photos import draw_photos

import openjepa
from openjepa.encoder.baselines import seeded
from openjepa.errors import UsageError
from openjepa.interop.artifact import write_artifact
from openjepa.interop.loaded_weights import Source
from openjepa.runs.settings import read_config
from openjepa.training.checkpoint import checkpoint_path, checkpoint_steps
from openjepa.training.monitoring.metrics_log import read_metrics
from openjepa.training.step import Schedule

SMALL = {"image_size": 16, "batch_size": 8, "workers": 0, "precision": "float32", "keep_every": 2, "log_every": 1}
LATER = {"workers": 0, "resume": True}


class StopAt(openjepa.Callback):
    def __init__(self, step):
        self.at = step

    def on_step(self, step, loss):
        if step == self.at:
            raise openjepa.StopTraining("enough")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """24 pictures, and a folder of the same names with four more and without one."""
    folder = tmp_path_factory.mktemp("pictures")
    draw_photos(folder / "photos")
    more = shutil.copytree(folder / "photos", folder / "more")
    files = sorted(path for path in more.rglob("*") if path.is_file())
    for number, file in enumerate(files[:4]):
        shutil.copy(file, file.with_name(f"new{number}{file.suffix}"))
    files[-1].unlink()
    return folder / "photos", more


@pytest.fixture(scope="module")
def four(pictures, tmp_path_factory):
    """A finished run of four steps."""
    out = tmp_path_factory.mktemp("resume") / "run"
    openjepa.pretrain(pictures[0], out=out, recipe="laptop", device="cpu", steps=4, **SMALL)
    return out


@pytest.fixture
def run(four, tmp_path):
    return shutil.copytree(four, tmp_path / "run")


def weights(run):
    return (run / "encoder" / "model.safetensors").read_bytes()


def losses(run):
    return {record["step"]: record["loss"] for record in read_metrics(run) if "loss" in record}


def test_extending_and_killing_equals_extending(pictures, run, tmp_path, capsys):
    other = shutil.copytree(run, tmp_path / "other")
    openjepa.pretrain(pictures[0], out=run, steps=8, **LATER)
    assert "extended from 4 to 8 steps at step 4: within 1 step the learning rate goes" in capsys.readouterr().out
    openjepa.pretrain(pictures[0], out=other, steps=8, callbacks=[StopAt(5)], **LATER)
    assert weights(other) != weights(run)
    openjepa.pretrain(pictures[0], out=other, **LATER)
    assert weights(other) == weights(run) and losses(other) == losses(run) and len(losses(run)) == 8
    (segment,) = read_config(run / "config.json")[1].segments
    assert (segment.from_step, segment.steps_before, segment.steps, segment.images) == (4, 4, 8, None)
    assert read_config(run / "config.json")[0].steps == 8


def test_the_run_up_to_there_is_unchanged(pictures, run):
    before, state = losses(run), (checkpoint_path(run / "checkpoints", 4) / "state.json").read_bytes()
    openjepa.pretrain(pictures[0], out=run, steps=6, **LATER)
    assert {step: loss for step, loss in losses(run).items() if step <= 4} == before
    assert (checkpoint_path(run / "checkpoints", 4) / "state.json").read_bytes() == state


def test_the_same_length_or_none_changes_nothing(pictures, run):
    stored = (run / "config.json").read_text()
    openjepa.pretrain(pictures[0], out=run, steps=4, **LATER)
    openjepa.pretrain(pictures[0], out=run, data_changed=True, **LATER)
    assert (run / "config.json").read_text() == stored


def test_a_run_can_be_shortened_to_where_it_is(pictures, run):
    openjepa.pretrain(pictures[0], out=run, steps=8, callbacks=[StopAt(6)], **LATER)
    openjepa.pretrain(pictures[0], out=run, steps=6, **LATER)
    segments = read_config(run / "config.json")[1].segments
    assert [(s.from_step, s.steps_before, s.steps) for s in segments] == [(4, 4, 8), (6, 8, 6)]
    assert json.loads((run / "encoder/openjepa.json").read_text())["step"] == 6


@pytest.mark.parametrize(
    ("length", "said"),
    [({"steps": 3}, "has taken 4 steps, and --steps 3 is less"), ({"epochs": 1}, "and --epochs 1 is less"),
     ({"time": "0.0001s"}, "and --time 0.0001s is less")],
)  # fmt: skip
def test_fewer_steps_than_taken_are_refused(pictures, run, length, said):
    stored = (run / "config.json").read_text()
    with pytest.raises(UsageError, match=said):
        openjepa.pretrain(pictures[0], out=run, **length, **LATER)
    assert (run / "config.json").read_text() == stored


def test_a_damaged_checkpoint_falls_back_across_the_extension(pictures, run, tmp_path):
    openjepa.pretrain(pictures[0], out=run, steps=6, **LATER)
    other = shutil.copytree(run, tmp_path / "other")
    for step in (4, 6):
        (checkpoint_path(other / "checkpoints", step) / "state.json").write_text("{}")
    openjepa.pretrain(pictures[0], out=other, **LATER)
    assert weights(other) == weights(run) and losses(other) == losses(run)
    for step in (4, 6):
        (checkpoint_path(other / "checkpoints", step) / "state.json").write_text("{}")
    openjepa.pretrain(pictures[0], out=other, steps=5, **LATER)  # replaces the extension, which lies after step 2
    assert [(s.from_step, s.steps) for s in read_config(other / "config.json")[1].segments] == [(2, 5)]


def test_images_that_changed_are_refused_without_the_flag(pictures, run):
    with pytest.raises(
        UsageError, match=r"holds 27 images, the run in .* had 24 \(4 new and 1 gone by name\): give --d"
    ):
        openjepa.pretrain(pictures[1], out=run, **LATER)
    with pytest.raises(UsageError, match=r"has taken all its 4 steps: give more --steps to train on "):
        openjepa.pretrain(pictures[1], out=run, data_changed=True, **LATER)
    with pytest.raises(UsageError, match="--data-changed goes with --resume"):
        openjepa.pretrain(pictures[1], out=run, data_changed=True)


def test_a_run_on_images_that_changed_equals_itself_interrupted(pictures, run, tmp_path):
    other, mean = shutil.copytree(run, tmp_path / "other"), read_config(run / "config.json")[1].mean
    openjepa.pretrain(pictures[1], out=run, steps=8, data_changed=True, **LATER)
    openjepa.pretrain(pictures[1], out=other, steps=8, data_changed=True, callbacks=[StopAt(6)], **LATER)
    with pytest.raises(UsageError, match=r"holds 24 images, the run in .* had 27"):
        openjepa.pretrain(pictures[0], out=other, **LATER)
    openjepa.pretrain(pictures[1], out=other, **LATER)
    assert weights(other) == weights(run) and losses(other) == losses(run)
    stored = read_config(run / "config.json")[1]
    (segment,) = stored.segments
    found = segment.images
    assert (found.before, found.after, found.new, found.gone) == (24, 27, 4, 1)
    assert stored.mean == mean and stored.found.images == 27 and stored.data == str(pictures[1])


def test_images_before_the_change_are_asked_for_where_its_checkpoint_is_lost(pictures, run):
    openjepa.pretrain(pictures[1], out=run, steps=6, data_changed=True, **LATER)
    for step in (4, 6):
        (checkpoint_path(run / "checkpoints", step) / "state.json").write_text("{}")
    with pytest.raises(
        UsageError, match="changed after step 4, and the newest sound checkpoint is of step 2: give --d"
    ):
        openjepa.pretrain(pictures[1], out=run, **LATER)
    openjepa.pretrain(pictures[1], out=run, data_changed=True, **LATER)
    (segment,) = read_config(run / "config.json")[1].segments
    assert (segment.from_step, segment.images.before, segment.images.after) == (2, 24, 27)
    assert max(checkpoint_steps(run / "checkpoints")) == 6


def test_results_of_the_encoder_before_are_kept_under_its_step(pictures, run):
    (run / "evaluation.json").write_text("[]")
    openjepa.pretrain(pictures[0], out=run, steps=6, **LATER)
    assert (run / "evaluation-step-00000004.json").read_text() == "[]" and not (run / "evaluation.json").exists()


def test_schedules_go_on_without_a_jump_and_end_as_planned():
    first = Schedule(300, lr=1e-3, weight_decay=(0.04, 0.4), ema_momentum=(0.99, 1.0))
    longer, planned = (
        first.extended(300, 600),
        Schedule(600, lr=1e-3, weight_decay=(0.04, 0.4), ema_momentum=(0.99, 1.0)),
    )
    assert [longer.at(step) for step in range(300)] == [first.at(step) for step in range(300)]
    assert [longer.at(step) for step in range(329, 600)] == [planned.at(step) for step in range(329, 600)]
    values = [longer.at(step)["lr"] for step in range(600)]
    assert max(abs(after - before) for before, after in pairwise(values)) < 1e-3 / 25  # the warm-up has steps of 1/30
    again = longer.extended(450, 500)
    assert again.at(449) == longer.at(449) and again.at(499)["lr"] == pytest.approx(1e-6) and again.first_steps == 300
    assert first.extended(0, 600) == planned


def test_the_report_says_what_was_changed_and_that_an_extension_is_not_finished(pictures, run, tmp_path):
    openjepa.pretrain(pictures[1], out=run, steps=8, data_changed=True, callbacks=[StopAt(6)], **LATER)
    text = openjepa.report(run, device="cpu").read_text()
    assert "Not finished: step 6 of 8. The encoder shown is of step 4." in text
    assert "length from 4 to 8 steps; images from 24 to 27: 4 new, 1 gone" in text and ">4 to 8<" in text
    openjepa.pretrain(pictures[1], out=run, **LATER)
    text = openjepa.report(run, device="cpu").read_text()
    assert "Not finished" not in text and "this command gives the same run" not in text
    assert f"{4 * 8 / 24 + 4 * 8 / 27:.1f} epochs" in " ".join(text.split())
    assert "images from 24" not in openjepa.report(run, device="cpu", step=4).read_text()


def test_segments_that_cannot_be_are_refused(pictures, run):
    openjepa.pretrain(pictures[0], out=run, steps=6, **LATER)
    content = json.loads((run / "config.json").read_text())
    first = content["segments"][0]
    for segments, said in (
        ([first | {"steps": 9}], "the last of the segments does not end at steps"),
        ([first, first | {"steps_before": 6, "from_step": 2}], "segments do not follow each other"),
        ([first, first], "segments do not follow each other"),
        ([first | {"from_step": -1}], "from_step is -1"),
        ([first] * 201, "segments"),
    ):
        (run / "config.json").write_text(json.dumps(content | {"segments": segments}))
        with pytest.raises(UsageError, match=said):
            read_config(run / "config.json")


def test_a_run_is_changed_a_bounded_number_of_times(pictures, run, monkeypatch):
    openjepa.pretrain(pictures[0], out=run, steps=6, **LATER)
    monkeypatch.setattr("openjepa.runs.resuming.resume.MOST_SEGMENTS", 1)
    with pytest.raises(UsageError, match="was changed 1 times, which is the most"):
        openjepa.pretrain(pictures[0], out=run, steps=8, **LATER)


@pytest.mark.parametrize("kind", ["ours", "timm"])
def test_a_run_from_other_weights_that_has_no_checkpoint_yet_starts_from_them_again(pictures, four, tmp_path, kind):
    first, how = four, {"steps": 2} | {name: SMALL[name] for name in SMALL if name != "image_size"}
    if kind == "timm":
        first = tmp_path / "model"
        timm_folder(first, "vit_small_patch16_dinov3")
    whole = openjepa.pretrain(pictures[0], out=tmp_path / "run", init=first, device="cpu", **how)
    killed = shutil.copytree(whole, tmp_path / "killed")
    for name in ("checkpoints", "encoder"):
        shutil.rmtree(killed / name)
    with pytest.raises(
        UsageError, match=r"no checkpoint yet: give --init .* again, to start from it, or --out another"
    ):
        openjepa.pretrain(pictures[0], out=killed, **LATER)
    openjepa.pretrain(pictures[0], out=killed, init=first, **LATER)
    for name in ("model.safetensors", "context_encoder.safetensors"):
        assert (killed / "encoder" / name).read_bytes() == (whole / "encoder" / name).read_bytes()
    shutil.rmtree(killed / "checkpoints")
    moved = shutil.move(first, tmp_path / "moved")
    try:
        first.symlink_to(seeded_artifact(tmp_path))
        with pytest.raises(UsageError, match=r"holds other networks than .* was started with: give --out another name"):
            openjepa.pretrain(pictures[0], out=killed, init=first, **LATER)
    finally:
        first.unlink()
        shutil.move(moved, first)


def seeded_artifact(folder):
    """An artifact of another depth."""
    network = seeded(0, image_size=(16, 16), patch_size=4, embed_dim=128, depth=1, num_heads=2)
    source = Source("ours", "openjepa", [0.5] * 3, [0.5] * 3, target=network)
    (folder / "other").mkdir()
    write_artifact(folder / "other", source, "target", {})
    return folder / "other"


def test_a_run_from_a_module_that_has_no_checkpoint_yet_is_given_it_again(pictures, tmp_path):
    timm_folder(tmp_path / "model", "vit_small_patch16_dinov3")
    module = timm.create_model(f"local-dir:{tmp_path / 'model'}", pretrained=True)
    how = {name: SMALL[name] for name in SMALL if name != "image_size"}
    whole = openjepa.pretrain(pictures[0], out=tmp_path / "run", model=module, device="cpu", steps=2, **how)
    killed = shutil.copytree(whole, tmp_path / "killed")
    for name in ("checkpoints", "encoder"):
        shutil.rmtree(killed / name)
    with pytest.raises(UsageError, match=r"no checkpoint yet: give model=... again"):
        openjepa.pretrain(pictures[0], out=killed, **LATER)
    openjepa.pretrain(pictures[0], out=killed, model=module, **LATER)
    name = "encoder/model.safetensors"
    assert (killed / name).read_bytes() == (whole / name).read_bytes()
