"""Vision transformers of timm and transformers are fine-tuned as they are, and go back to their library with a head."""

import csv
import json

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from support.foreign import TIMM, TRANSFORMERS, images, timm_folder, transformers_folder
from timm.optim import param_groups_layer_decay
from torch import nn

import openjepa
from openjepa.errors import UsageError
from openjepa.evaluation.finetuning.layers import layers_of
from openjepa.evaluation.finetuning.tuner import TuningPlan, parameter_groups
from openjepa.interop.classifier import library_of, load_classifier
from openjepa.interop.formats.foreign_head import library_head
from openjepa.interop.head_formats import hf_outputs, timm_outputs
from openjepa.runs.finetuning import run as running
from openjepa.runs.finetuning import start

FAST = {"workers": 0, "precision": "float32", "device": "cpu", "batch_size": 16, "patience": 0, "epochs": 1}
VITS = [name for name in [*TIMM, *TRANSFORMERS] if not any(each in name for each in ("swin", "conv", "resnet"))]
UNLIKE = {"deit_small_distilled_patch16_224", "clip_vision_model", "siglip_vision_model", "dinov3_vit"}
UNLIKE |= {"aimv2_vision_model"}  # their library's classifiers read something else than its pooled features


def write_folder(place, name, **changes):
    (timm_folder if name in TIMM else transformers_folder)(place / name, name, **changes)
    return place / name


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    return {name: write_folder(place, name) for name in ("vit_small_patch16_dinov3", "dinov2", "clip_vision_model")}


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(start, "LEAST_STEPS", 6)


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """Photos by their redness: a class, and a number."""
    place, rng = tmp_path_factory.mktemp("listed"), np.random.default_rng(0)
    rows = []
    for number in range(20):
        pixels = rng.integers(0, 60, (32, 32, 3)) + np.array([150 * (number % 2), 0, 0])
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.png")
        rows.append([f"{number}.png", ["grey", "red"][number % 2], 2.5 + 10 * (number % 2)])
    with (place / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "kind", "redness"), *rows])
    return str(place / "list.csv")


@pytest.mark.parametrize(
    ("name", "labels"),
    [("vit_small_patch16_dinov3", "kind"), ("dinov2", "redness"), ("clip_vision_model", "kind")],
)
def test_the_library_onnx_and_predict_say_the_same(folders, listed, tmp_path, name, labels):
    onnx = name == "vit_small_patch16_dinov3"
    out = openjepa.finetune(folders[name], listed, out=tmp_path / "out", labels=labels, onnx=onnx, **FAST)
    model = load_classifier(out)
    pixels = images(model.image_size, 5)
    standardised = model.encoder.standardised(pixels)
    outputs = {"kind": lambda logits: logits.softmax(1), "redness": lambda numbers: numbers}[labels]
    with torch.no_grad():
        said = model.features(pixels)
    if library := library_of(out):
        theirs = {"timm": timm_outputs, "transformers": hf_outputs}[library](out / "model", standardised)
        torch.testing.assert_close(outputs(theirs), said, atol=1e-5, rtol=1e-4)
    if onnx:
        session = onnxruntime.InferenceSession(out / "onnx/classifier.onnx", providers=["CPUExecutionProvider"])
        graph = torch.from_numpy(session.run(["logits"], {"pixel_values": standardised.numpy()})[0])
        torch.testing.assert_close(outputs(graph), said, atol=1e-4, rtol=1e-3)
    assert library == {"vit_small_patch16_dinov3": "timm", "dinov2": "transformers"}.get(name)
    before, after = openjepa.load_encoder(folders[name]), openjepa.load_encoder(out)
    assert torch.equal(after.features(pixels), model.encoder.features(pixels))
    assert not torch.allclose(after.features(pixels), before.features(pixels), atol=1e-4)
    assert (after.frame, after.mean, after.licence) == (before.frame, before.mean, before.licence)
    with openjepa.predict(out, listed, out=tmp_path / "said.csv", workers=0, precision="float32").open() as file:
        predicted = {row["path"]: row for row in csv.DictReader(file)}
    with (out / "predictions.csv").open() as file:
        for row in csv.DictReader(file):
            assert row["path"] in predicted and all(
                float(predicted[row["path"]][column]) == pytest.approx(float(row[column]), abs=1e-4)
                for column in row
                if column.startswith("probability") or column == "redness"
            )


def test_timm_opens_the_folder_with_its_preprocessing_and_names(folders, listed, tmp_path):
    out = openjepa.finetune(folders["vit_small_patch16_dinov3"], listed, out=tmp_path / "out", labels="kind", **FAST)
    model = timm.create_model(f"local-dir:{out / 'model'}", pretrained=True)
    data, encoder = timm.data.resolve_model_data_config(model), openjepa.load_encoder(out)
    assert (data["input_size"], list(data["mean"]), list(data["std"])) == ((3, 32, 32), encoder.mean, encoder.std)
    assert json.loads((out / "model/config.json").read_text())["label_names"] == ["grey", "red"]
    assert "timm.create_model" in (out / "model/README.md").read_text()
    further = openjepa.finetune(out, listed, out=tmp_path / "again", labels="kind", **FAST)
    assert library_of(further) == "timm"


def test_a_run_that_is_stopped_goes_on_to_the_bit(folders, listed, tmp_path, monkeypatch):
    how = FAST | {"labels": "kind", "mixup": 0.3, "freeze": 1}
    model = folders["vit_small_patch16_dinov3"]
    whole, part = openjepa.finetune(model, listed, out=tmp_path / "whole", **how), tmp_path / "part"
    step = running.TuningRun._save_or_stop

    def stopped(self, stop, watch):
        stop.asked = stop.asked or self.done == 3
        step(self, stop, watch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(running.TuningRun, "_save_or_stop", stopped)
        openjepa.finetune(model, listed, out=part, **how)
    openjepa.finetune(model, listed, out=part, resume=True, **how)
    one, other, first = (load_file(folder / "model.safetensors") for folder in (whole / "model", part / "model", model))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    same = {name for name in first.keys() & one.keys() if torch.equal(first[name], one[name])}
    assert {"cls_token", "reg_token", "patch_embed.proj.weight", "blocks.0.mlp.fc1.weight"} <= same
    assert not any(name.startswith("blocks.1.") for name in same)


@pytest.mark.parametrize("name", ["deit3_small_patch16_224", "eva02_tiny_patch14_224", "vit_small_patch16_dinov3"])
def test_rates_fall_block_by_block_as_in_timm(name):
    model = timm.create_model(name, num_classes=3, **TIMM[name])
    groups = parameter_groups(model, nn.Linear(32, 5), TuningPlan(1, lr=1.0, layer_decay=0.5))
    ours = {id(parameter): group["peak"] for group in groups for parameter in group["params"]}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for group in param_groups_layer_decay(model, layer_decay=0.5):
        for parameter in group["params"]:
            last = "norm" in names[id(parameter)] and "blocks" not in names[id(parameter)]  # timm: as the last block
            assert ours[id(parameter)] == (1 if last else group["lr_scale"])


@pytest.mark.parametrize("name", VITS)
def test_every_vision_transformer_has_layers_and_most_a_classifier_of_their_library(tmp_path, name):
    encoder = openjepa.load_encoder(write_folder(tmp_path, name))
    layers = layers_of(encoder.network)
    assert len(layers) == 4 and sum(map(len, layers)) == len(list(encoder.network.parameters())) and all(layers)
    width = encoder.features(images(encoder.image_size, 1)).shape[1]
    found = library_head(encoder, torch.randn(3, width), torch.randn(3), ["a", "b", "c"], "regression")
    assert (found is None) == (name in UNLIKE)


def test_the_task_of_evaluate_takes_them_too(folders, tmp_path, photos, monkeypatch):
    monkeypatch.setattr("openjepa.evaluation.tasks.finetune.LEAST_STEPS", 2)
    how = {"tasks": "finetune", "epochs": 1, "device": "cpu", "precision": "float32", "workers": 0}
    records = openjepa.evaluate([folders["dinov2"]], photos, **how)
    assert {str(folders["dinov2"]), "untrained"} <= {record["model"] for record in records}


@pytest.mark.parametrize("name", ["resnet18", "swin"])
def test_networks_that_are_no_vision_transformers_are_refused(listed, tmp_path, name):
    with pytest.raises(UsageError, match=f"{name} is no vision transformer of equal blocks, which finetune needs"):
        openjepa.finetune(write_folder(tmp_path, name), listed, out=tmp_path / "out", labels="kind", **FAST)
    assert not (tmp_path / "out/finetuning.json").exists()


def test_a_folder_with_names_of_tensors_that_are_not_there_is_refused(folders, listed, tmp_path):
    out = openjepa.finetune(folders["dinov2"], listed, out=tmp_path / "out", labels="kind", **FAST)
    path = out / "model/openjepa.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"tensors": {"prefix": "dinov2.", "head": "dinov2.encoder"}}))
    with pytest.raises(UsageError, match=r"missing: .*encoder"):
        load_classifier(out)
    path.write_text(json.dumps(facts | {"tensors": {"prefix": "dinov2."}}))
    with pytest.raises(UsageError, match=r"tensors.head is missing"):
        load_classifier(out)
