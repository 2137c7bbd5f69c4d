"""Methods and networks that a program gives: they train, resume bit for bit, and can be told from others."""

import json
import sys
from typing import ClassVar

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

import openjepa
from openjepa.cli import main
from openjepa.errors import UsageError
from openjepa.methods.base import Inputs
from openjepa.models.vit import patchify, take
from openjepa.own import OWN

TINY = {"batch_size": 8, "image_size": 16, "patch_size": 4, "device": "cpu", "workers": 0, "steps": 6}
WEIGHTS = "encoder/model.safetensors"


def images(count=24):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (20, 20, 3), dtype=np.uint8) for _ in range(count)]


class Twins(openjepa.Method):
    """Two crops of an image have near projections; dropout draws random numbers in each step."""

    views: ClassVar[int] = 2

    def __init__(self, context_encoder, width):
        super().__init__(context_encoder)
        self.projector = nn.Sequential(nn.Dropout(0.5), nn.Linear(width, 16))

    @classmethod
    def build(cls, encoder, predictor=None, **settings):
        return cls(encoder, encoder.embed_dim)

    def loss(self, inputs: Inputs):
        one, other = (self.projector(self.context_encoder(view).mean(dim=1)) for view in inputs.views)
        return (one - other).square().mean() - one.std(dim=0).mean()


class Patches(nn.Module):
    """The least that can be trained: each patch through layers of its own, with dropout."""

    def __init__(self, width=16, image_size=(16, 16)):
        super().__init__()
        self.embed_dim, self.patch_size, self.in_chans = width, 4, 3
        self.image_size, self.grid_size = image_size, (image_size[0] // 4, image_size[1] // 4)
        self.layers_of_patch = nn.Sequential(nn.Linear(48, width), nn.GELU(), nn.Dropout(0.2), nn.Linear(width, width))
        self.position = nn.Parameter(torch.randn(self.grid_size[0] * self.grid_size[1], width) / 5)

    def forward(self, images, ids=None):
        pixels = patchify(images, 4)
        if ids is None:
            return self.layers_of_patch(pixels) + self.position
        return self.layers_of_patch(take(pixels, ids)) + self.position[ids]


class WithoutSubsets(Patches):
    def forward(self, images):
        return super().forward(images)


class StopAt(openjepa.Callback):
    def on_step(self, step, loss):
        if step == 3:
            raise openjepa.StopTraining


def network():
    torch.manual_seed(3)
    return Patches()


def train(out, **given):
    return openjepa.pretrain(images(), out=out, **TINY | given)


@pytest.fixture(scope="module", params=["method", "model"])
def own(request):
    return {"method": Twins} if request.param == "method" else {"model": network()}


@pytest.fixture(scope="module")
def whole(own, tmp_path_factory):
    return train(tmp_path_factory.mktemp("own") / "run", **own)


def test_a_run_resumes_bit_for_bit_when_the_same_class_is_given(own, whole, tmp_path):
    stopped = train(tmp_path / "run", callbacks=[StopAt()], **own)
    torch.manual_seed(99)
    resumed = openjepa.open_run(stopped).resume(images(), **own)
    assert (resumed / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert resumed.metrics()["rank"].equals(whole.metrics()["rank"])


@pytest.fixture
def elsewhere(monkeypatch):
    """As in another process, where the classes are not known."""
    for kind in OWN:
        monkeypatch.setitem(OWN, kind, {})


def test_without_the_class_a_run_does_not_resume(own, whole, elsewhere):
    with pytest.raises(UsageError, match=r"the class (Twins|Patches).*: give it again, as (method|model)="):
        openjepa.pretrain(images(), out=whole.folder, resume=True)


def test_where_the_class_is_not_known_the_run_is_read(own, whole, elsewhere):
    opened = openjepa.open_run(whole.folder)
    assert "own:" + ("Twins" if "method" in own else "Patches") in (opened.config.method, opened.config.model)
    page = opened.report().read_text()
    assert "openjepa.pretrain(images" in page and ("method=Twins" if "method" in own else "model=Patches") in page
    if "method" in own:
        assert opened.encoder().embed(images(2)).equal(whole.encoder().embed(images(2)))
    else:
        with pytest.raises(UsageError, match="holds a network of the class Patches of your own: open it in Python"):
            opened.encoder()


def test_what_config_json_states(own, whole):
    stored = json.loads((whole / "config.json").read_text())
    if "method" in own:
        assert stored["own_method"]["name"] == "own:Twins" and stored["own_method"]["views"] == 2
        assert not stored["own_method"]["needs_masks"]
    else:
        assert stored["own_model"]["name"] == "own:Patches" and len(stored["own_model"]["shapes"]) == 64
        assert (stored["settings"]["image_size"], stored["settings"]["channels"]) == ("16", 3)


def test_the_encoder_of_an_own_network(tmp_path, capsys):
    given = network()
    before = {name: value.clone() for name, value in given.state_dict().items()}
    run = train(tmp_path / "run", model=given)
    assert all(torch.equal(value, before[name]) for name, value in given.state_dict().items())
    assert "load_encoder(path, model=...) opens it, given a Patches" in " ".join(capsys.readouterr().out.split())
    vectors = run.encoder().embed(images(4))
    assert vectors.equal(openjepa.load_encoder(run, model=Patches()).embed(images(4)))
    with pytest.raises(UsageError, match=r"holds the weights of a Patches, which do not fit the model given"):
        openjepa.load_encoder(run, model=Patches(width=8))
    with pytest.raises(UsageError, match="its tensors have other shapes"):
        run.resume(model=Patches(width=8))
    with pytest.raises(UsageError, match=r"was started with a model of the class Patches: give it again"):
        openjepa.pretrain(images(), out=run.folder, resume=True)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"method": 3}, "method 3 is not possible: give a name (ijepa"),
        ({"method": nn.Linear}, "give a name (ijepa, hybrid, mae"),
        ({"method": type("Half", (openjepa.Method,), {})}, "method Half has no build, loss"),
        ({"model": 3}, "model 3 is not possible: give a name (vit_nano"),
        ({"model": nn.Linear(2, 2)}, "model Linear cannot be trained: it has no embed_dim"),
        ({"model": WithoutSubsets()}, "model WithoutSubsets cannot be trained: called with (images, ids) it raises"),
        ({"model": Patches(), "image_size": 32}, "the model has image_size 16, not 32: leave it out"),
        ({"model": Patches(), "init": "x"}, "a model that is an nn.Module has neither init nor teacher"),
        ({"method": "own:Nobody"}, "--method own:Nobody is not known"),
    ],
)
def test_what_cannot_be_trained_is_named(given, why, tmp_path):
    with pytest.raises(UsageError) as caught:
        train(tmp_path / "run", **given)
    assert why in str(caught.value) and "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_every_method_trains_an_own_network(tmp_path):
    for method in ("hybrid", "mae", Twins):
        name = method if isinstance(method, str) else "own"
        run = train(tmp_path / name, model=network(), method=method, steps=2)
        assert run.finished
    assert set(OWN["method"]) >= {"own:Twins"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run with checkpoints of steps 3 and 6, its network, and labelled images."""
    data = openjepa.as_dataset(images(), labels=["a", "b"] * 12)
    out = tmp_path_factory.mktemp("kept") / "run"
    return openjepa.pretrain(data, out=out, model=network(), keep_every=3, **TINY), data


CHEAP = {"device": "cpu", "precision": "float32", "workers": 0}


def test_commands_take_the_network_of_a_run(kept, tmp_path, elsewhere, capsys):
    run, data = kept
    other = openjepa.open_run(run.folder)
    vectors = pq.read_table(openjepa.embed(other, images(), out=tmp_path / "v.parquet", network=Patches(), **CHEAP))
    expected = run.encoder().embed(images())
    np.testing.assert_allclose(vectors["vector"].to_pylist(), expected, atol=1e-6)
    records = openjepa.evaluate([other, "untrained:vit_nano_patch4_16"], data, tasks="knn", network=Patches(), **CHEAP)
    assert {record["model"] for record in records} > {str(run), "untrained:vit_nano_patch4_16", "pixels"}
    alone = openjepa.evaluate(other, data, tasks="knn", step=3, network=Patches(), **CHEAP)
    assert {record["model"] for record in alone} == {f"{run} (step 3)", "pixels", "constant"}
    assert "a Patches, of which none without training can be made" in capsys.readouterr().out
    page = openjepa.report(other, network=Patches()).read_text()
    assert "network=Patches(...)" in page and "is shown where one is given" not in page
    page = openjepa.report(other).read_text()
    assert "Its encoder is a Patches of a program, and is shown where one is given" in page
    assert "Not finished" not in page
    with pytest.raises(UsageError, match="finetune needs a vision transformer of equal blocks"):
        openjepa.evaluate(other, data, tasks="finetune", network=Patches(), **CHEAP)


def test_the_encoder_of_each_step_in_a_network_that_is_given(kept, elsewhere):
    run, _ = kept
    other = openjepa.open_run(run.folder)
    given = Patches()
    before = {name: value.clone() for name, value in given.state_dict().items()}
    for how in ({}, {"step": 3}, {"which": "context"}):
        assert other.encoder(model=given, **how).embed(images(2)).equal(run.encoder(**how).embed(images(2)))
    assert not run.encoder(step=3).embed(images(2)).equal(run.encoder().embed(images(2)))
    assert not run.encoder("context").embed(images(2)).equal(run.encoder().embed(images(2)))
    assert all(torch.equal(value, before[name]) for name, value in given.state_dict().items())
    with pytest.raises(UsageError, match="its tensors have other shapes"):
        other.encoder(step=3, model=Patches(width=8))
    with pytest.raises(UsageError, match="whose image size is its own"):
        other.encoder(image_size=(32, 32), model=Patches())


def test_an_own_network_goes_to_onnx_alone(kept, tmp_path):
    run, _ = kept
    folder = openjepa.export(run, to="onnx", out=tmp_path / "onnx", network=Patches(), licence="mit")
    session = onnxruntime.InferenceSession(folder / "encoder.onnx", providers=["CPUExecutionProvider"])
    encoder = run.encoder()
    pixels = encoder.standardised(encoder.preprocess(images(3)))
    (embedding,) = session.run(["embedding"], {"pixel_values": pixels.numpy()})
    np.testing.assert_allclose(embedding, encoder.embed(images(3)), atol=1e-5)
    assert "license: mit" in (folder / "README.md").read_text()
    with pytest.raises(
        UsageError, match="holds a Patches of your own, which no other library can build: give --to onnx"
    ):
        openjepa.export(run, to="hf", out=tmp_path / "hf", network=Patches())


@pytest.mark.parametrize("words", ["embed RUN DATA --out v.csv", "evaluate RUN DATA", "export RUN --to onnx --step 3"])
def test_the_command_line_says_how_to_do_it_in_python(kept, photos, tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    named = {"RUN": str(kept[0]), "DATA": str(photos)}
    monkeypatch.setattr(sys, "argv", ["openjepa", *(named.get(word, word) for word in words.split())])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == 2 and len(told.strip().splitlines()) == 1
    assert "holds a network of the class Patches of your own: open it in Python" in told and "network=..." in told
