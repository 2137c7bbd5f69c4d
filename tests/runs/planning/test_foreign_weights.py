"""Runs that train a network of timm or transformers further: from --init to an export, from the run folder alone."""

import json
from pathlib import Path

import pytest
import timm
import torch
import transformers
from support.foreign import images, timm_folder, transformers_folder

import openjepa
from openjepa.data.crops import standardise
from openjepa.encoder.foreign import ForeignEncoder
from openjepa.errors import UsageError
from openjepa.training.monitoring.metrics_log import read_metrics

HOW = {"batch_size": 8, "workers": 0, "device": "cpu", "precision": "float32", "predictor_dim": 16}
HOW |= {"predictor_heads": 2, "log_every": 1, "masks_per_image": 1, "labels": False}
IMAGES = "scenes:24"
# Class token and registers with LayerScale; class token; rotary positions with registers (Eva); the same of Meta's own.
TIMM = {
    "vit_small_patch14_reg4_dinov2": {"img_size": 56},
    "vit_base_patch16_224": {},
    "eva02_tiny_patch14_224": {"img_size": 56},
    "vit_small_patch16_dinov3": {"img_size": 64},
}
HF = ("dinov2_with_registers", "dinov3_vit")


def their_tokens(folder: Path, pixels: torch.Tensor, prefix: int) -> torch.Tensor:
    """Patch tokens through the library that a folder is for, without any code of openjepa."""
    with torch.no_grad():
        if "architecture" in json.loads((folder / "config.json").read_text()):
            model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
            return model.forward_features(pixels)[:, prefix:]
        return transformers.AutoModel.from_pretrained(folder).eval()(pixels).last_hidden_state[:, prefix:]


@pytest.mark.parametrize("name", [*TIMM, *HF])
def test_a_network_is_trained_further_and_goes_back_to_its_library(tmp_path, photos, name):
    first, to = tmp_path / "first", "timm" if name in TIMM else "hf"
    timm_folder(first, name, **TIMM[name]) if name in TIMM else transformers_folder(first, name)
    run = openjepa.pretrain(photos, out=tmp_path / "run", init=first, steps=20, lr=3e-3, **HOW)
    losses = [record["loss"] for record in read_metrics(run) if "loss" in record]
    assert sum(losses[-4:]) < 0.9 * sum(losses[2:6])  # the predictor learns alone in steps 1 and 2
    before = openjepa.load_encoder(first)
    first.rename(tmp_path / "gone")
    encoder = openjepa.load_encoder(run)
    assert isinstance(encoder, ForeignEncoder) and encoder.mean == before.mean
    pixels = images(encoder.image_size, 2)
    assert not torch.allclose(encoder.tokens(pixels), before.tokens(pixels), atol=1e-3)
    assert torch.equal(encoder.embed(pixels), encoder.patch_tokens(pixels).flatten(1, 2).mean(dim=1))
    openjepa.export(run, to=to, out=tmp_path / "back")
    prefix = encoder.foreign.layout.prefix
    for folder in (tmp_path / "back", run / "encoder"):
        theirs = their_tokens(folder, standardise(pixels, encoder.mean, encoder.std), prefix)
        assert torch.allclose(encoder.tokens(pixels), theirs, atol=1e-5)
    assert json.loads((tmp_path / "back/comparison.json").read_text())["patch_tokens"]["max"] < 1e-5
    assert openjepa.load_encoder(tmp_path / "back").licence == before.licence


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign") / "dinov3"
    timm_folder(folder, "vit_small_patch16_dinov3", img_size=64)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, network):
    """A run of 6 steps, whose --init is not there any more."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "first").symlink_to(network)
    run = openjepa.pretrain(IMAGES, out=folder / "run", init=folder / "first", steps=6, keep_every=3, **HOW)
    (folder / "first").unlink()
    return run


class Stop(openjepa.Callback):
    """Stops a run after 3 steps."""

    def on_step(self, step, loss):
        if step == 3:
            raise openjepa.StopTraining("for the test")


@pytest.mark.parametrize("given", ["init", "model"])
def test_it_resumes_bit_for_bit_from_its_folder(tmp_path, network, run, given):
    source = network if given == "init" else timm.create_model(f"local-dir:{network}", pretrained=True)
    how = HOW | ({"init_freeze": 0.1} if given == "init" else {"lr": 2e-4, "ema_momentum": (0.996, 1.0)})
    openjepa.pretrain(IMAGES, out=tmp_path / "run", steps=6, callbacks=[Stop()], **how, **{given: source})
    again = openjepa.pretrain(IMAGES, out=tmp_path / "run", resume=True)
    files = ("model.safetensors", "context_encoder.safetensors")
    same = [(again / "encoder" / name).read_bytes() == (run / "encoder" / name).read_bytes() for name in files]
    assert same == [given == "init"] * 2  # with model= the predictor does not learn alone at first


def test_every_command_reads_the_run_folder_alone(tmp_path, run, capsys):
    records = openjepa.evaluate(run, "scenes:40", encoder="both", tasks="knn", device="cpu", workers=0)
    assert {f"{run}", f"{run} (context encoder)", "untrained"} <= {record["model"] for record in records}
    table = openjepa.embed(run, "scenes:4", out=tmp_path / "v.csv", step=3, device="cpu", workers=0)
    assert len(table.read_text().splitlines()[1].split(",")) == 33
    openjepa.report(run, device="cpu")
    assert "licence: dinov3-license" in capsys.readouterr().out
    one, other = (run.encoder(step=6, which=which).network.state_dict() for which in ("target", "context"))
    kept = openjepa.load_encoder(run).network.state_dict()
    assert all(torch.equal(one[name], kept[name]) for name in kept)
    assert any(not torch.equal(one[name], other[name]) for name in kept)


def test_what_cannot_be_is_refused_in_a_line(tmp_path, network, run):
    for given, reason in (
        ({"patch_size": 4}, "has --patch-size 16, not 4"),
        ({"model": "vit_tiny"}, "decides the network: leave out --model"),
        ({"channels": 1}, "reads 3 channels, not 1"),
        ({"image_size": 36}, "give an image size that is a multiple"),
        ({"method": "mae"}, "--init continues --method ijepa"),
    ):
        with pytest.raises(UsageError, match=reason):
            openjepa.pretrain(IMAGES, out=tmp_path / "run", init=network, steps=1, **HOW | given)
    for to, reason in (("hf", "give --to timm"), ("onnx", "give --to timm"), ("hub:a/b", "give --to timm")):
        with pytest.raises(UsageError, match=f"network of timm .* cannot be exported to .*{reason}"):
            openjepa.export(run, to=to, out=tmp_path / "out")
    with pytest.raises(UsageError, match="leave out --with-predictor"):
        openjepa.export(run, to="timm", out=tmp_path / "out", with_predictor=True)
    with pytest.raises(UsageError, match="cannot become a plain ViT"):
        openjepa.import_(run, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"architecture": "vit_of_nobody"}, "lacks"),
        ({"library": "pickle"}, "is damaged"),
        ({"arguments": {"checkpoint_path": "weights"}}, "which is not taken"),
        ({"arguments": {"depth": 600}}, "more than 512 blocks"),
        ({"arguments": {"embed_dim": 48}}, "do not fit its architecture"),
        ({"image_size": [1, 1]}, "."),
    ],
)
def test_a_damaged_architecture_is_refused(tmp_path, run, change, reason):
    facts = json.loads((run / "encoder/openjepa.json").read_text())
    facts["foreign"] |= change
    for path in (run / "encoder").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "openjepa.json").write_text(json.dumps(facts))
    with pytest.raises(UsageError, match=reason) as caught:
        openjepa.load_encoder(tmp_path)
    assert "\n" not in str(caught.value)
