"""Fine-tuning learns what labels say, resumes to the bit, opens in transformers and ONNX, and refuses nonsense."""

import csv
import json
import shutil

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from support.photos import draw_photos

import openjepa
from openjepa.encoder.encoder import Encoder
from openjepa.evaluation.finetuning.objective import Kind, Objective, balanced_weights
from openjepa.files.lock import locked
from openjepa.interop.classifier import load_classifier, save_classifier
from openjepa.interop.open_model import open_model
from openjepa.runs.finetuning import run as running
from openjepa.runs.finetuning import start
from openjepa.training.checkpoint import checkpoint_path, checkpoint_steps, load_checkpoint, save_checkpoint
from openjepa.training.monitoring.metrics_log import read_metrics

MODEL = "untrained:vit_nano_patch8_16"
FAST = {"workers": 0, "precision": "float32", "device": "cpu", "batch_size": 16, "patience": 0}


def table(folder, count=40):
    """Photos that are red, green or both, by a class, tags, truth values and a brightness; the last row has none."""
    rng, rows = np.random.default_rng(0), []
    (folder / "images").mkdir(parents=True)
    for number in range(count):
        red, green = number % 2, number // 2 % 2
        pixels = rng.integers(0, 60, (16, 16, 3)) + np.array([160 * red, 160 * green, 20 * (number % 5)])
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / f"{number:02}.png")
        tags = "|".join(name for name, has in (("red", red), ("green", green)) if has) or "[]"
        row = [["none", "some"][bool(red or green)], tags, red, green, 2.5 + 10 * red, number % 3]
        rows.append([f"images/{number:02}.png", *row])
    rows[-1][1:] = [""] * 6
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "kind", "colours", "red", "green", "brightness", "times"), *rows])
    return folder / "list.csv"


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    return table(tmp_path_factory.mktemp("listed"))


def tuned(data, out, **settings):
    return openjepa.finetune(MODEL, data, out=out, **{"time": None, "epochs": 1, **FAST, **settings})


@pytest.fixture(scope="module")
def heads(listed, tmp_path_factory):
    """A head of each kind."""
    place = tmp_path_factory.mktemp("heads")
    columns = {"class": "kind", "tags": "colours", "columns": "red,green", "numbers": "brightness"}
    return {
        kind: tuned(str(listed), place / kind, labels=labels, lr=3e-3, onnx=kind != "columns")
        for kind, labels in columns.items()
    }


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(start, "LEAST_STEPS", 20)


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_classes_tags_and_numbers_are_learnt(heads):
    rows = {kind: rows_of(out / "predictions.csv") for kind, out in heads.items()}
    assert np.mean([row["prediction"] == row["truth"] for row in rows["class"]]) >= 0.8
    for kind in ("tags", "columns"):
        assert np.mean([set(row["prediction"].split("|")) == set(row["truth"].split("|")) for row in rows[kind]]) >= 0.6
    errors = [abs(float(row["brightness"]) - float(row["true brightness"])) for row in rows["numbers"]]
    assert np.mean(errors) < 3  # always saying the mean is wrong by 5


@pytest.mark.parametrize("kind", ["class", "tags", "numbers"])
def test_transformers_and_onnx_give_what_predict_gives(heads, listed, tmp_path, kind):
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    out = heads[kind]
    said = rows_of(openjepa.predict(out, str(listed), out=tmp_path / "said.csv", workers=0, precision="float32"))
    theirs, report = AutoModelForImageClassification.from_pretrained(out / "model", output_loading_info=True)
    assert not any(report[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert theirs.config.problem_type == {"class": None, "tags": "multi_label_classification"}.get(kind, "regression")
    names = list(theirs.config.id2label.values())
    images = [Image.open(listed.parent / row["path"]) for row in said]
    pixels = AutoImageProcessor.from_pretrained(out / "model")(images, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        logits = theirs.eval()(pixels).logits
    session = onnxruntime.InferenceSession(out / "onnx/classifier.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(["logits"], {"pixel_values": pixels.numpy()})[0], logits, atol=1e-4)
    about = json.loads((out / "onnx/classifier.json").read_text())
    assert about["names"] == names
    shares = {"class": logits.softmax(1), "tags": logits.sigmoid(), "numbers": logits}[kind]
    start = "" if kind == "numbers" else "probability of "
    ours = [[float(row[start + name]) for name in names] for row in said]
    np.testing.assert_allclose(ours, shares, atol=1e-3)
    known = {row["path"] for row in said if row["trained_on"] == "yes"}
    assert not known & {row["path"] for row in rows_of(out / "predictions.csv")} and len(known) > 20


@pytest.mark.parametrize("to", ["hf", "onnx"])
def test_a_head_is_exported_whole_and_its_encoder_is_opened_alone(heads, tmp_path, to, capsys):
    folder = openjepa.export(heads["tags"], to=to, out=tmp_path / "out")
    difference = json.loads((folder / "comparison.json").read_text())["outputs"]
    assert difference["max"] < 1e-5 and "difference of the outputs" in capsys.readouterr().out
    encoder, head = openjepa.load_encoder(heads["tags"]), load_classifier(heads["tags"])
    image = Image.new("RGB", (16, 16), (200, 30, 90))
    assert isinstance(encoder, Encoder) and torch.equal(encoder.embed([image]), head.encoder.embed([image]))
    assert torch.equal(load_classifier(folder).weight, head.weight) if to == "hf" else True


def test_a_run_that_is_stopped_goes_on_to_the_bit(short, listed, tmp_path, monkeypatch):
    whole = tuned(str(listed), tmp_path / "whole", labels="kind", mixup=0.3, flip=True)
    part = tmp_path / "part"
    step = running.TuningRun._save_or_stop

    def stopped(self, stop, watch):
        stop.asked = stop.asked or self.done == 13
        step(self, stop, watch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(running.TuningRun, "_save_or_stop", stopped)
        tuned(str(listed), part, labels="kind", mixup=0.3, flip=True)
    assert checkpoint_steps(part / "checkpoints")[-1] == 13 and not (part / "model").exists()
    tuned(str(listed), part, labels="kind", mixup=0.3, flip=True, resume=True, workers=2)
    one, other = (load_file(out / "model/model.safetensors") for out in (whole, part))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert (whole / "predictions.csv").read_text() == (part / "predictions.csv").read_text()
    losses = [[(r["step"], r["loss"]) for r in read_metrics(out) if r["step"] > 15] for out in (whole, part)]
    assert losses[0] == losses[1]


def test_it_stops_where_validation_no_longer_improves_and_keeps_the_best_step(tmp_path, capsys):
    photos = draw_photos(tmp_path / "photos", 30)
    rng = np.random.default_rng(1)  # labels by chance: what is learnt does not hold for the validation part
    labels = [str(rng.integers(2)) for _ in range(30)]
    data = openjepa.as_dataset(sorted(photos.rglob("*.jpg")), labels=labels)
    out = tuned(data, tmp_path / "out", epochs=200, lr=5e-3, patience=2)
    records = [record for record in read_metrics(out) if "validation_accuracy" in record]
    assert records[-1]["step"] < json.loads((out / "finetuning.json").read_text())["steps"]
    assert "no better for 2 validations" in capsys.readouterr().out
    best = max(records, key=lambda record: record["validation_accuracy"] - 1e-7 * record["validation_loss"])
    about = json.loads((out / "model/openjepa.json").read_text())
    assert about["step"] == best["step"] and about["accuracy"] == best["validation_accuracy"]
    assert best["step"] in checkpoint_steps(out / "checkpoints")


def test_frozen_blocks_stay_and_the_others_move(short, listed, tmp_path):
    out = tuned(str(listed), tmp_path / "out", labels="kind", freeze=1)
    ours, before = (openjepa.load_encoder(name).network.state_dict() for name in (str(out), str(first(tmp_path))))
    for name, value in before.items():
        frozen = name.startswith("patch_embed") or name.startswith("blocks.0.")
        assert torch.equal(ours[name], value) == (frozen or name == "pos_embed"), name


def first(folder):
    encoder = open_model(MODEL, torch.device("cpu"), torch.float32)
    save_classifier(
        folder / "first", encoder, torch.zeros(2, 128), torch.zeros(2), ["a", "b"], {}, np.zeros(1, np.int64)
    )
    return folder / "first"


def test_images_without_a_label_are_left_out_with_a_line(short, listed, tmp_path, capsys):
    tuned(str(listed), tmp_path / "out", labels="kind", test=str(listed))
    said = capsys.readouterr().out
    assert "1 of 40 images" in said and "have no known kind, and are left out" in said
    assert "validated on 8, tested on 39" in said and "also chose the step" not in said
    assert "warning: 31 of them are also among the images learnt from" in " ".join(said.split())


def test_balanced_weights_let_every_class_count_alike():
    targets = torch.tensor([0] * 9 + [1] * 3)
    weights = balanced_weights(Kind.CLASS, targets.numpy(), 3)
    outputs = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    each = [float(Objective(Kind.CLASS, 3).loss(outputs[targets == k], targets[targets == k])) for k in (0, 1)]
    weighted = float(Objective(Kind.CLASS, 3, weights=weights).loss(outputs, targets))
    assert weighted == pytest.approx(12 / 2 * (each[0] / 9 + each[1] / 3), rel=1e-5)


REFUSED = [
    ({"labels": "kinds"}, r"column of .* kinds is not known: known are .*; did you mean kind\?"),
    ({}, "has the columns kind, colours, .*: name one with --labels"),
    ({"labels": "kind", "regression": True}, "column kind of .* is not of numbers"),
    ({"labels": "red,kind"}, "column kind of .* is not of 0 and 1"),
    ({"labels": "brightness", "label_smoothing": 0.1}, "--label-smoothing is for classes, and brightness is a number"),
    ({"labels": "brightness", "class_weights": "balanced"}, "--class-weights is for classes"),
    ({"labels": "kind", "class_weights": "equal"}, "--class-weights equal is not known"),
    ({"labels": "kind", "freeze": 99}, "--freeze 99 is not possible: the encoder has"),
    ({"labels": "kind", "lr": 0.0}, "--lr 0 is not possible: give a number above 0"),
    ({"labels": "kind", "batch_size": 0}, "--batch-size 0 is not possible"),
    ({"labels": "kind", "crop_scale": 0.5}, "--crop-scale 0.5 is not possible"),
    ({"labels": "kind", "lr": "1e-3"}, "--lr 1e-3 is not possible: give a number above 0"),
    ({"labels": "kind", "crop_scale": (0.9, 0.1)}, "--crop-scale 0.9 0.1 is not possible"),
    ({"labels": "kind", "epochs": float("nan")}, "--epochs nan is not possible"),
    ({"labels": "kind", "time": "soon"}, "--time soon is not a duration"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_settings_that_cannot_be_are_refused(listed, tmp_path, settings, message):
    with pytest.raises(openjepa.UsageError, match=message):
        tuned(str(listed), tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_images_that_cannot_teach_are_refused(tmp_path):
    photos = draw_photos(tmp_path / "photos", 6)
    flat = draw_photos(tmp_path / "flat", 4, classes=())
    paths = sorted(photos.rglob("*.jpg"))

    def refused(data, message, model=MODEL, **settings):
        with pytest.raises(openjepa.UsageError, match=message):
            openjepa.finetune(model, data, out=tmp_path / "out", **(FAST | settings))

    refused(str(flat), "has no labels to learn: put the images in one folder a class")
    refused(str(flat), "has no labels, and no column kind", labels="kind")
    one = openjepa.as_dataset(paths, labels=["a", "b", "c", "d", "e", "e"])
    refused(one, "no labels|of 5 classes have a single image")
    refused(str(photos), "has no network to train", model="pixels")
    refused(str(photos), "no image of .* has the label class", test=str(draw_photos(tmp_path / "x", 6, ("e", "f"))))
    (photos / "cat").rename(tmp_path / "cat")
    refused(str(photos), "has no labels to learn")


def test_a_checkpoint_that_does_not_fit_is_refused(listed, heads, tmp_path):
    out = shutil.copytree(heads["class"], tmp_path / "copy")
    for step in checkpoint_steps(out / "checkpoints"):
        tensors, state = load_checkpoint(checkpoint_path(out / "checkpoints", step))
        tensors["optimizer.3.exp_avg"] = torch.zeros(5)
        about = {"best": state.best, "skipped": {}, "untrained": {}}
        save_checkpoint(out / "checkpoints", step, tensors, about)
    with pytest.raises(openjepa.UsageError, match=r"is of another run \(optimizer.3.exp_avg has the shape \[5\]"):
        tuned(str(listed), out, labels="kind", lr=3e-3, resume=True)


def test_only_the_same_command_resumes(listed, heads, tmp_path):
    out = shutil.copytree(heads["class"], tmp_path / "copy")

    def refused(message, data=str(listed), model=MODEL, **settings):
        with pytest.raises(openjepa.UsageError, match=message):
            given = {"epochs": 1, "labels": "kind", "lr": 3e-3, **FAST, **settings}
            openjepa.finetune(model, data, out=out, **{"resume": True, **given})

    refused("was started with --lr 0.003, not 0.001", lr=1e-3)
    refused("was started with --labels kind, not red", labels="red")
    refused("is not the model that .* was started with", model="untrained:vit_nano_patch4_16")
    refused("holds other images than", data=str(table(tmp_path / "other", 44)))
    refused("exists and is not empty", resume=False)
    (out / "finetuning.json").write_text("{}")
    refused("finetuning.json is damaged")
    with pytest.raises(openjepa.UsageError, match="holds no fine-tuning to resume"):
        tuned(str(listed), tmp_path / "none", labels="kind", resume=True)
    with locked(tmp_path / "busy"), pytest.raises(openjepa.UsageError, match="another process works in"):
        tuned(str(listed), tmp_path / "busy", labels="kind")


def test_a_finished_run_that_is_resumed_writes_its_results_again(listed, heads, tmp_path):
    out = shutil.copytree(heads["class"], tmp_path / "copy")
    before = (out / "model/model.safetensors").read_bytes(), (out / "predictions.csv").read_bytes()
    shutil.rmtree(out / "model")
    (out / "predictions.csv").unlink()
    tuned(str(listed), out, labels="kind", lr=3e-3, resume=True)
    assert ((out / "model/model.safetensors").read_bytes(), (out / "predictions.csv").read_bytes()) == before


def test_python_objects_with_labels_are_learnt(tmp_path):
    rng = np.random.default_rng(0)
    images = [(rng.integers(0, 99, (16, 16, 3)) + 150 * (n % 2)).astype(np.uint8) for n in range(24)]
    data = openjepa.as_dataset(images, labels={"age": [20.5 + 30 * (n % 2) for n in range(24)]})
    out = tuned(data, tmp_path / "out", labels="age", lr=3e-3)
    answers = [float(row["age"]) for row in rows_of(out / "predictions.csv")]
    assert min(answers) < 33 < 38 < max(answers)


def test_time_decides_the_length(listed, tmp_path):
    out = tuned(str(listed), tmp_path / "out", labels="kind", epochs=None, time="1s")
    assert 1 <= json.loads((out / "finetuning.json").read_text())["steps"] < 3000
