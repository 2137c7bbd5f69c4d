"""ensemble as a person uses it: soups of one start are artifacts, others are refused with the reason."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from support.photos import draw_photos
from support.siblings import sibling

import openjepa
from openjepa.errors import UsageError
from openjepa.interop.artifact import load_artifact
from openjepa.interop.classifier import save_classifier
from openjepa.interop.ensembles.open import load_ensemble

HOW = {"device": "cpu", "precision": "float32", "workers": 0}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Three models from one start, one from another, one of another shape, and labelled pictures."""
    folder = tmp_path_factory.mktemp("ensemble")
    for moved in range(3):
        sibling(folder / f"run{moved}", moved)
    sibling(folder / "other", 0, start=5)
    sibling(folder / "wide", 0, embed_dim=48)
    sibling(folder / "odd", 1, mean=[0.5, 0.5, 0.5])
    draw_photos(folder / "photos", 80, ("cat", "dog"), side=16)
    draw_photos(folder / "few", 12, (), side=16)
    return folder


@pytest.fixture
def here(home, monkeypatch):
    monkeypatch.chdir(home)
    return home


def test_a_soup_is_the_mean_of_all_networks(here, tmp_path, capsys):
    out = openjepa.ensemble(["run0", "run1", "run2"], how="soup", data="photos", out=tmp_path / "soup", **HOW)
    soup, members = load_artifact(out), [load_artifact(here / f"run{moved}") for moved in range(3)]
    for part in ("target", "context", "predictor"):
        states = [getattr(member, part).state_dict() for member in members]
        for name, value in getattr(soup, part).state_dict().items():
            torch.testing.assert_close(value, torch.stack([state[name] for state in states]).mean(dim=0))
    about = json.loads((out / "openjepa.json").read_text())
    assert about["soup"]["members"] == ["run0", "run1", "run2"] and len(about["soup"]["barriers"]) == 3
    assert about["settings"]["method"] == "ijepa" and "step" not in about
    said = " ".join(capsys.readouterr().out.split())
    assert "between run0 and run1: loss" in said and "on 80 images of photos" in said
    again = {"how": "soup", "data": "photos", "out": out, **HOW}
    with pytest.raises(UsageError, match="holds an earlier output"):
        openjepa.ensemble(["run0", "run1"], **again)
    openjepa.ensemble(["run0", "run1"], **again, overwrite=True)


def test_a_greedy_soup_keeps_what_helps(here, tmp_path, capsys):
    out = openjepa.ensemble(["run0", "run1", "other"], how="greedy", data="photos", out=tmp_path / "soup", **HOW)
    about = json.loads((out / "openjepa.json").read_text())["soup"]
    assert sorted([*about["members"], *about["left_out"]]) == ["other", "run0", "run1"]
    assert about["accuracies"] == sorted(about["accuracies"]) and len(about["accuracies"]) == len(about["members"])
    assert "the best of 3" in capsys.readouterr().out


def test_both_encoders_of_a_model_make_a_soup_of_the_encoder_alone(here, tmp_path):
    out = openjepa.ensemble("run0", how="soup", encoder="both", data="photos", out=tmp_path / "soup", **HOW)
    soup, source = load_artifact(out), load_artifact(here / "run0")
    assert soup.context is None and soup.predictor is None
    mean = (source.target.blocks[0].attn.qkv.weight + source.context.blocks[0].attn.qkv.weight) / 2
    torch.testing.assert_close(soup.target.blocks[0].attn.qkv.weight, mean)


@pytest.fixture(scope="module")
def joined(home):
    """Models of two starts and widths, side by side, and projected to the width of one."""
    names = [str(home / name) for name in ("run0", "wide")]
    made = {"how": "concat", "data": str(home / "photos"), **HOW}
    whole = openjepa.ensemble(names, out=home / "joined", **made)
    return whole, openjepa.ensemble(names, out=home / "projected", width=20, **made)


def test_members_side_by_side_count_the_same(here, joined):
    encoder, images = openjepa.load_encoder(joined[0]), [Image.open(path) for path in here.glob("photos/*/*.jpg")]
    embeddings = encoder.embed(images)
    assert embeddings.shape == (80, 80)
    for part, name in zip(embeddings.split([32, 48], dim=1), ("run0", "wide"), strict=True):
        torch.testing.assert_close(part.mean(dim=0), torch.zeros(part.shape[1]), atol=1e-4, rtol=0)
        assert float(part.var(dim=0).sum()) == pytest.approx(1, rel=1e-3)
        alone = openjepa.load_encoder(name).embed(images)
        shifted = alone - alone.mean(dim=0)
        torch.testing.assert_close(part, shifted / shifted.var(dim=0).sum().sqrt(), atol=1e-4, rtol=1e-3)
    tokens = encoder.patch_tokens(images[:2])
    torch.testing.assert_close(tokens.mean(dim=(1, 2)), embeddings[:2], atol=1e-5, rtol=1e-4)


def test_a_projection_keeps_the_most_of_the_variance(here, joined):
    images = [Image.open(path) for path in here.glob("photos/*/*.jpg")]
    whole, narrow = (openjepa.load_encoder(folder).embed(images) for folder in joined)
    assert narrow.shape == (80, 20)
    values = torch.linalg.svdvals(whole.double())[:20].square()
    torch.testing.assert_close(narrow.double().square().sum(dim=0), values, rtol=1e-3, atol=1e-6)


def test_an_ensemble_stands_alone_and_its_members_open(here, joined, tmp_path):
    moved = shutil.copytree(joined[1], tmp_path / "moved")
    assert openjepa.load_encoder(moved / "members" / "1").network.embed_dim == 48
    image = Image.open(next(here.glob("photos/*/*.jpg")))
    torch.testing.assert_close(openjepa.load_encoder(moved).embed(image), openjepa.load_encoder(joined[1]).embed(image))


def test_an_evaluation_shows_what_ensembles_gain_and_cost(here, joined, tmp_path, capsys):
    openjepa.ensemble(["run0", "run1"], how="soup", data="photos", out=tmp_path / "soup", **HOW)
    models = [str(joined[1]), "run0", "run1", str(tmp_path / "soup")]
    records = openjepa.evaluate(models, "photos", tasks="knn", crops=5, cache=tmp_path / "cache", **HOW)
    assert {f"{joined[1]}: {here / name}" for name in ("run0", "wide")} < {record["model"] for record in records}
    value, best = (
        {r["model"]: r["value"] for r in records}[joined[1].as_posix()],
        max(r["value"] for r in records if r["model"].startswith(f"{joined[1]}: ")),
    )
    said = " ".join(capsys.readouterr().out.split())
    assert f"{joined[1]} against the best of its members: k-NN {100 * (value - best):+.1f} points" in said
    assert "soup against the best of its members: k-NN" in said and "1.0 times the parameters of one" in said
    assert "run1 (5 crops) against run1: k-NN" in said and "untrained (5 crops)" not in said
    with pytest.raises(UsageError, match="segment does not read embeddings, which --crops is of"):
        openjepa.evaluate("run0", "scenes:20", tasks="segment", crops=2, **HOW)
    with pytest.raises(UsageError, match="--crops needs an encoder, which pixels is not"):
        openjepa.embed("pixels", "few", out=tmp_path / "v.csv", crops=2, **HOW)


def test_other_commands_take_an_ensemble(here, joined, tmp_path):
    table = openjepa.embed(joined[1], "few", out=tmp_path / "v.csv", crops=5, **HOW)
    assert len(table.read_text().splitlines()[0].split(",")) == 21
    index = openjepa.index(joined[1], "few", out=tmp_path / "index", patches=True, **HOW)
    assert len(openjepa.search(index, "000.jpg", top=3)) == 3
    onnx = openjepa.export(joined[1], to="onnx", out=tmp_path / "onnx")
    assert json.loads((onnx / "comparison.json").read_text())["patch_tokens"]["max"] < 1e-3
    again = {"how": "concat", "data": "photos", "out": tmp_path / "again", **HOW}
    openjepa.ensemble(["run0", "run1"], **again)
    with pytest.raises(UsageError, match="holds an earlier output"):
        openjepa.ensemble(["run0", "run2"], **again)
    openjepa.ensemble(["run0", "run2"], **again, overwrite=True)


DAMAGE = {
    "a member is gone": (lambda folder: shutil.rmtree(folder / "members/1"), "members/1 does not exist"),
    "no tensors": (lambda folder: (folder / "ensemble.safetensors").unlink(), "damaged"),
    "other tensors": (
        lambda folder: save_file({"centre": torch.zeros(3)}, folder / "ensemble.safetensors"),
        "ensemble.safetensors is damaged: centre is not .80. of float32",
    ),
    "another member": (
        lambda folder: sibling(folder / "members/1", 0, image_size=(32, 32)),
        "cannot be joined: they see images at 16x16 px and 32x32 px",
    ),
    "one name": (lambda folder: changed(folder, members=["x"]), "damaged: ensemble.members"),
    "no width": (lambda folder: changed(folder, width=0), "damaged: ensemble.width is 0"),
    "another width": (lambda folder: changed(folder, width=7), "matrix is not .80, 7."),
}


def changed(folder, **fields):
    about = json.loads((folder / "openjepa.json").read_text())
    about["ensemble"] |= fields
    (folder / "openjepa.json").write_text(json.dumps(about))


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_ensemble_is_refused_in_one_line(joined, tmp_path, case):
    folder = shutil.copytree(joined[1], tmp_path / "ensemble")
    damage, said = DAMAGE[case]
    damage(folder)
    with pytest.raises(UsageError, match=said) as error:
        openjepa.load_encoder(folder)
    assert "\n" not in str(error.value)


def test_what_needs_one_network_says_so(joined, here, tmp_path):
    for call in (
        lambda: openjepa.import_(joined[0], tmp_path / "new"),
        lambda: openjepa.export(joined[0], to="timm", out=tmp_path / "new"),
        lambda: openjepa.pretrain("photos", init=joined[0], out=tmp_path / "new"),
        lambda: openjepa.ensemble([joined[0], "run0"], how="soup", data="photos", out=tmp_path / "new", **HOW),
        lambda: openjepa.load_encoder(joined[0], image_size=(32, 32)),
    ):
        with pytest.raises(UsageError, match=r"ensemble|several networks"):
            call()


WRONG = {
    "another start": (["run0", "other"], {}, "run0 and other cannot be averaged: .* a barrier of 0.* one start"),
    "another shape": (["run0", "wide"], {}, "cannot be averaged: embed_dim is 32 and 48"),
    "another mean": (["run0", "odd"], {}, "cannot be averaged: mean is 0.45, 0.5, 0.4 and 0.5, 0.5, 0.5"),
    "one model": (["run0", "run0"], {}, "run0 is one model, and an ensemble needs two or more"),
    "no model": (["run0", "nothing"], {}, "nothing does not exist"),
    "no images": (["run0", "run1"], {"data": None}, "--how soup needs images to measure on: give --data"),
    "few images": (["run0", "run1"], {"data": "few"}, "12 images that can be read: measuring needs 50"),
    "no labels": (["run0", "run1"], {"data": "few", "how": "greedy"}, "few has no labels to measure by"),
    "unknown way": (["run0", "run1"], {"how": "soups"}, "--how soups is not known: .* did you mean soup"),
    "unknown encoder": (["run0", "run1"], {"encoder": "all"}, "--encoder all is not known"),
    "no run": (["run0"], {"steps": "1,2"}, "--step 1 needs the folder of a run"),
    "no width": (["run0", "run1"], {"how": "concat", "width": 65}, "--width 65 is not possible: .* 1 to 64 numbers"),
    "an input": (["run0", "run1"], {"out": "run0", "overwrite": True}, "run0 is read by this command"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_refused_in_one_line(here, tmp_path, case):
    models, changes, said = WRONG[case]
    with pytest.raises(UsageError, match=said) as error:
        openjepa.ensemble(models, **{"how": "soup", "data": "photos", "out": tmp_path / "new", **HOW, **changes})
    assert "\n" not in str(error.value) and not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def heads(home):
    """Heads on two models that tell the same classes in another order, and one of other classes."""
    torch.manual_seed(0)
    told = {"run0": ["cat", "dog"], "wide": ["dog", "cat"], "birds": ["jay", "owl"]}
    for name, classes in told.items():
        encoder = openjepa.load_encoder(home / ("run1" if name == "birds" else name))
        weight, bias = torch.randn(2, encoder.network.embed_dim), torch.randn(2)
        hashes = np.array([7], np.int64)
        save_classifier(home / f"head-{name}", encoder, weight, bias, classes, {}, hashes)
    draw_photos(home / "birds", 20, ("jay", "owl"), side=16)
    return home


def test_heads_vote_by_the_mean_of_their_probabilities(heads, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(heads)
    names = ["head-run0", "head-wide"]
    out = openjepa.ensemble(names, how="probes", data="photos", out=tmp_path / "vote", **HOW)
    said = " ".join(capsys.readouterr().out.split())
    assert "the vote against the best head:" in said and "on 80 images" in said
    probabilities = {}
    for head in (*names, str(out)):
        with openjepa.predict(head, "photos", out=tmp_path / "p.csv", **HOW).open(newline="") as file:
            probabilities[head] = [float(row["probability of cat"]) for row in csv.DictReader(file)]
    mean = np.mean([probabilities[name] for name in names], axis=0)
    assert probabilities[str(out)] == pytest.approx(mean, abs=1e-3) and np.ptp(mean) > 0
    assert "the head on 80 test images" in capsys.readouterr().out
    encoder = openjepa.load_encoder(out)
    image = Image.open(next(heads.glob("photos/*/*.jpg")))
    assert encoder.embed(image).shape == (1, 2) and encoder.embed(image).sum() == pytest.approx(1, abs=1e-5)
    assert [member.name for member in load_ensemble(out, torch.device("cpu"), torch.float32)[1]] == names
    assert (openjepa.export(out, to="onnx", out=tmp_path / "onnx") / "encoder.onnx").is_file()


@pytest.mark.parametrize(
    ("models", "changes", "said"),
    [
        (["head-run0", "head-birds"], {}, r"cannot vote together: they tell 2 classes \(cat, dog\) and 2 classes"),
        (["head-run0"], {}, "head-run0 is one head, and an ensemble needs two or more"),
        (["head-run0", "run1"], {}, "run1 is no head"),
        (["head-run0", "head-wide"], {"width": 3}, "--width has no meaning for --how probes"),
        (["head-run0", "head-wide"], {"data": "birds"}, "birds has no label with the classes of head-run0"),
    ],
)
def test_heads_that_cannot_vote_are_refused_in_one_line(heads, monkeypatch, tmp_path, models, changes, said):
    monkeypatch.chdir(heads)
    with pytest.raises(UsageError, match=said):
        openjepa.ensemble(models, **{"how": "probes", "out": tmp_path / "new", **HOW, **changes})
