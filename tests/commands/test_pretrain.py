"""pretrain as a person uses it: what is left behind, Ctrl-C, kill -9, resuming, damage."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image
from safetensors.torch import load_file
from support.photos import draw_photos
from support.processes import child, run_script

import openjepa
from openjepa.cli import status_of
from openjepa.data.dataset import ImageFiles
from openjepa.errors import BadImage, UsageError
from openjepa.models.vit import SIZES
from openjepa.recipe_settings import RECIPES
from openjepa.training.checkpoint import checkpoint_steps
from openjepa.training.monitoring.metrics_log import read_metrics

# The sums of a matrix product depend on the number of threads: bit for bit means at the same number.
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}
STEPS = 40  # enough for a signal to come between two of them
SMALL = {"image_size": 16, "batch_size": 8, "predictor_depth": 1, "workers": 0, "log_every": 1, "precision": "float32"}


def words(photos, out, steps, *more):
    options = [f"--{name.replace('_', '-')}={value}" for name, value in (SMALL | {"steps": steps}).items()]
    main = (
        f"from openjepa.models.vit import SIZES; SIZES |= {SIZES!r}; import openjepa.__main__"  # as the tests have it
    )
    return [sys.executable, "-c", main, "pretrain", str(photos), "--out", str(out), *options, *more]


def weights(run):
    return {name: value.numpy().tobytes() for name, value in load_file(run / "encoder" / "model.safetensors").items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    photos = draw_photos(folder / "photos")
    openjepa.pretrain(str(photos), out=str(folder / "run"), steps=STEPS, **SMALL)
    return photos, folder / "run"


def test_the_last_line_says_how_long_all_took_and_the_training(photos, tmp_path, capsys, monkeypatch):
    """The user waits for more than the training: the plan says what went before it, the last line how long all took."""
    clock = iter(range(0, 10**6, 3))
    monkeypatch.setattr("openjepa.waited.time.monotonic", lambda: float(next(clock)))
    openjepa.pretrain(str(photos), out=tmp_path / "run", **SMALL, steps=1)
    said = capsys.readouterr().out
    assert re.search(r"GiB of memory; on top come [1-9][^;]* so far and, at the end, the report", said)
    whole, training = re.fullmatch(r"took (.+) \(training (.+)\)", said.splitlines()[-1]).groups()
    assert whole != training


def test_what_a_run_leaves(undisturbed):
    photos, run = undisturbed
    stored = json.loads((run / "config.json").read_text())
    assert stored["steps"] == STEPS == stored["settings"]["steps"] and stored["found"]["images"] == 24
    records = read_metrics(run)
    assert [record["step"] for record in records] == list(range(STEPS + 1))
    first, last = records[0], records[-1]
    for name in ("rank", "std", "positional_fraction", "energy_gap", "ema_distance", "verdict", "knn", "linear"):
        assert name in first and name in last
    assert {"knn_pixels", "linear_pixels"} <= first.keys()
    assert any((run / "tensorboard").iterdir())
    encoder = openjepa.load_encoder(run)
    dataset_images = [str(path) for path in sorted(photos.rglob("*.jpg"))]
    assert encoder.embed([Image.open(path) for path in dataset_images[:3]]).shape == (3, 128)


def test_ctrl_c_then_resume_is_the_undisturbed_run(undisturbed, tmp_path, capsys):
    photos, whole = undisturbed
    out = tmp_path / "run"
    process = subprocess.Popen(
        words(photos, out, STEPS), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ONE_THREAD
    )
    wait_for_step(out, 5)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert "--resume" in said and "Traceback" not in said
    assert checkpoint_steps(out / "checkpoints")
    assert status_of(words(photos, out, STEPS, "--resume")[3:]) == 0
    assert "resuming after step" in capsys.readouterr().out
    assert weights(out) == weights(whole)


def test_kill_loses_no_more_than_the_last_interval(undisturbed, tmp_path):
    photos, whole = undisturbed
    out = tmp_path / "run"
    process = child(status_of, words(photos, out, STEPS, "--checkpoint-minutes=0")[3:])
    wait_for_step(out, 8)
    process.kill()
    process.join()
    assert checkpoint_steps(out / "checkpoints")[-1] >= 7
    newest = max((out / "checkpoints").glob("step-*"))
    (newest / "state.safetensors").write_bytes(b"torn")
    openjepa.pretrain(str(photos), out=out, resume=True, checkpoint_minutes=5)
    assert weights(out) == weights(whole)


def test_processes_that_torchrun_starts_anew_go_on_without_being_told(undisturbed, tmp_path, monkeypatch):
    photos, whole = undisturbed
    out = shutil.copytree(whole, tmp_path / "run")
    with pytest.raises(UsageError, match="continue it with --resume"):
        openjepa.pretrain(str(photos), out=out, steps=STEPS, **SMALL)
    shutil.rmtree(out / "encoder")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    openjepa.pretrain(str(photos), out=out, steps=STEPS, **SMALL)
    assert weights(out) == weights(whole)


def wait_for_step(out, step):
    for _ in range(600):
        if (out / "metrics.jsonl").exists() and any(record["step"] >= step for record in read_metrics(out)):
            return
        time.sleep(0.1)
    raise AssertionError(f"no step {step} in a minute")


def test_resume_refuses_another_run(undisturbed, tmp_path):
    photos, run = undisturbed
    with pytest.raises(openjepa.UsageError, match="was started with --batch-size 8, not 16"):
        openjepa.pretrain(str(photos), out=run, resume=True, batch_size=16)
    fewer = draw_photos(tmp_path / "fewer", 10)
    with pytest.raises(openjepa.UsageError, match=r"holds 10 images, the run .* had 24"):
        openjepa.pretrain(str(fewer), out=run, resume=True)


def test_a_time_becomes_steps_once(photos, tmp_path):
    openjepa.pretrain(str(photos), out=tmp_path / "run", time="1s", **SMALL)
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stored["settings"]["time"] == "1s" and stored["settings"]["steps"] is None
    assert read_metrics(tmp_path / "run")[-1]["step"] == stored["steps"]


def test_flat_lists_and_bad_files_train_too(tmp_path):
    flat = draw_photos(tmp_path / "flat", 12, classes=())
    (flat / "cut.jpg").write_bytes((flat / "000.jpg").read_bytes()[:300])
    (flat / "empty.png").write_bytes(b"")
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(f"flat/{path.name}" for path in sorted(flat.iterdir())) + "\nflat/gone.jpg\n")
    for source, skipped in ((flat, 2), (listed, 3)):
        out = tmp_path / f"run-{source.stem}"
        with pytest.raises(UsageError, match=rf"{skipped} of {12 + skipped} images .* more than --max-skipped 0.05"):
            openjepa.pretrain(str(source), out=out, steps=3, **SMALL)
        assert len((out / "skipped.txt").read_text().splitlines()) == skipped
        openjepa.pretrain(str(source), out=out, steps=3, max_skipped=0.3, **SMALL)
        assert len((out / "skipped.txt").read_text().splitlines()) == skipped
        assert "knn" not in read_metrics(out)[-1]


def test_a_zip_trains_as_its_folder_and_one_with_a_test_part_is_refused(undisturbed, tmp_path):
    photos, _ = undisturbed
    archive = shutil.make_archive(str(tmp_path / "photos"), "zip", photos)
    for source, out in ((photos, "a"), (archive, "b")):
        openjepa.pretrain(source, out=tmp_path / out, steps=2, **SMALL)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    shutil.copytree(photos, tmp_path / "set" / "train")
    shutil.copytree(photos, tmp_path / "set" / "test")
    split = shutil.make_archive(str(tmp_path / "split"), "zip", tmp_path / "set")
    with pytest.raises(openjepa.UsageError, match="train"):
        openjepa.pretrain(split, out=tmp_path / "c", steps=2, **SMALL)
    openjepa.pretrain(f"{split}/train", out=tmp_path / "c", steps=2, **SMALL)


@pytest.mark.usefixtures("reports")
def test_photos_of_many_sizes_are_reported(tmp_path):
    """More sizes than a report could list, and fewer images than a batch."""
    (tmp_path / "photos").mkdir()
    for i in range(130):
        image = Image.new("RGB", (16 + i, 300 - i), (i, 2 * i % 256, 99))
        image.save(tmp_path / "photos" / f"{i}.png")
    openjepa.pretrain(tmp_path / "photos", out=tmp_path / "run", steps=2, **SMALL | {"batch_size": 150})
    assert "130 images" in (tmp_path / "run" / "report.html").read_text()


def test_the_last_images_of_a_folder_do(tmp_path):
    """One image in each of two classes: too few to probe, enough to train."""
    few = draw_photos(tmp_path / "few", 2)
    openjepa.pretrain(str(few), out=tmp_path / "run", steps=2, **SMALL)
    assert "knn" not in read_metrics(tmp_path / "run")[-1]


def test_resume_keeps_what_the_machine_was_told(photos, tmp_path):
    out = tmp_path / "run"
    openjepa.pretrain(str(photos), out=out, steps=5, keep_every=2, **SMALL)
    openjepa.pretrain(str(photos), out=out, steps=9, resume=True)
    assert {2, 4, 6, 8} <= set(checkpoint_steps(out / "checkpoints"))


def test_other_images_are_not_resumed(undisturbed, tmp_path):
    photos, run = undisturbed
    moved = shutil.copytree(photos, tmp_path / "moved")
    first = next(moved.rglob("*.jpg"))
    first.rename(first.with_name("another.jpg"))
    with pytest.raises(openjepa.UsageError, match="other images"):
        openjepa.pretrain(str(moved), out=run, resume=True)


def test_every_recipe_builds():
    from openjepa.config import build_config
    from openjepa.runs.images import mask_settings

    for recipe in RECIPES.values():
        mask_settings(build_config(recipe.settings, {}))


def test_a_second_interrupt_ends_at_once(tmp_path):
    code = "import os, signal\nfrom openjepa.training.signals import stop_on_signals\n"
    code += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored if the tests run in the background
    code += "with stop_on_signals() as stop:\n os.kill(os.getpid(), signal.SIGINT)\n assert stop.asked\n"
    code += " os.kill(os.getpid(), signal.SIGINT)\n print('still here')\n"
    _, said = run_script(code, tmp_path)
    assert "still here" not in said and "KeyboardInterrupt" in said


@pytest.mark.usefixtures("reports")
def test_without_labels_there_are_no_probes_and_resuming_keeps_it_so(tmp_path, capsys):
    photos = tmp_path / "photos"
    for number, path in enumerate(sorted(draw_photos(tmp_path / "drawn", 24, classes=()).iterdir())):
        (photos / f"{number // 2:04}").mkdir(parents=True, exist_ok=True)
        shutil.move(path, photos / f"{number // 2:04}")
    for out in ("whole", "parts"):
        openjepa.pretrain(str(photos), out=tmp_path / out, **SMALL | {"steps": 6, "keep_every": 3}, labels=False)
    said = " ".join(capsys.readouterr().out.split())
    assert "in 12 classes" not in said and "shards" not in said
    shutil.rmtree(tmp_path / "parts/checkpoints/step-00000006")
    openjepa.pretrain(str(photos), out=tmp_path / "parts", resume=True)
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    for out in ("whole", "parts"):
        assert not any({"knn", "linear"} & record.keys() for record in read_metrics(tmp_path / out))
        assert not (tmp_path / out / "encoder-best-knn").exists()
        assert "--no-labels" in (tmp_path / out / "report.html").read_text()
    with pytest.raises(UsageError, match="was started with --labels False, not True"):
        openjepa.pretrain(str(photos), out=tmp_path / "parts", resume=True, labels=True)
    openjepa.pretrain(str(photos), out=tmp_path / "labelled", **SMALL | {"steps": 1})
    said = " ".join(capsys.readouterr().out.split())
    assert "12 folders of about 2 images each, named by numbers: are these shards" in said and "--no-labels" in said


def test_a_damaged_image_gives_the_same_run_in_memory_and_on_the_disk(tmp_path, monkeypatch):
    flat = tmp_path / "flat"
    for number, path in enumerate(sorted(draw_photos(tmp_path / "drawn", 24, classes=()).iterdir())):
        flat.mkdir(exist_ok=True)
        Image.open(path).save(flat / f"{number:02}.png")
    (flat / "03.png").write_bytes((flat / "03.png").read_bytes()[:-40])  # its header is sound
    for limit, out in ((2**30, "memory"), (0, "disk")):
        monkeypatch.setattr("openjepa.runs.images.MEMORY_LIMIT", limit)
        openjepa.pretrain(str(flat), out=tmp_path / out, **SMALL | {"steps": 4})
        assert (tmp_path / out / "skipped.txt").read_text().startswith("03.png\ttruncated")
    assert weights(tmp_path / "memory") == weights(tmp_path / "disk")


def test_a_run_whose_files_vanish_stops_in_words_and_goes_on_when_more_may_be_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("openjepa.runs.images.MEMORY_LIMIT", 0)
    flat, out = draw_photos(tmp_path / "flat", 24, classes=()), tmp_path / "run"
    load = ImageFiles.read

    def vanishing(self, index):
        if index < 3 and (out / "metrics.jsonl").exists():
            raise BadImage("no such file or directory")
        return load(self, index)

    monkeypatch.setattr(ImageFiles, "read", vanishing)
    settings = SMALL | {"steps": 8, "workers": 0}
    with pytest.raises(UsageError, match=r"of 24 images cannot be read .*more than --max-skipped allows") as caught:
        openjepa.pretrain(str(flat), out=out, **settings)
    assert "\n" not in str(caught.value) and checkpoint_steps(out / "checkpoints")
    assert "no such file" in (out / "skipped.txt").read_text()
    openjepa.pretrain(str(flat), out=out, resume=True, max_skipped=0.5, **settings)
    assert len((out / "skipped.txt").read_text().splitlines()) == 3 and (out / "encoder").is_dir()


@pytest.mark.usefixtures("reports")
def test_a_run_whose_images_are_gone_before_its_report_ends_well(tmp_path, capsys):
    """Few images are kept in memory, so the run does not notice."""
    folder = draw_photos(tmp_path / "photos")

    class Removing(openjepa.Callback):
        def on_step(self, step, loss):
            shutil.rmtree(folder, ignore_errors=True)

    run = openjepa.pretrain(str(folder), out=tmp_path / "run", steps=2, callbacks=[Removing()], **SMALL)
    assert run.finished and (run / "report.html").is_file()
    said = capsys.readouterr().out
    assert said.count("the report is made without pictures: ") == 1
    with pytest.raises(UsageError, match="does not exist"):
        run.report()
