"""Vision transformers of timm, trained further: subsets of patches, and back to timm."""

import pytest
import timm
import torch
from support.foreign import images, scattered, timm_folder

import openjepa
from openjepa.data.crops import standardise
from openjepa.errors import UsageError
from openjepa.interop.foreign.trainable import open_trainable
from openjepa.interop.load import load_encoder
from openjepa.models.protocol import check_patch_encoder
from openjepa.training.monitoring.metrics_log import read_metrics

# Class token; LayerScale and positions of patches alone; registers; rotary positions with registers; with SwiGLU.
TRAINED = {
    "vit_base_patch16_224": {},
    "deit3_small_patch16_224": {},
    "vit_small_patch14_reg4_dinov2": {"img_size": 56},
    "vit_small_patch16_dinov3": {"img_size": 64},
    "eva02_tiny_patch14_224": {"img_size": 56},
    "vit_base_patch16_clip_224": {"img_size": 64},
}


@pytest.mark.parametrize("name", TRAINED)
def test_subsets_of_patches(tmp_path, name):
    timm_folder(tmp_path, name, **TRAINED[name])
    network, encoder = open_trainable(tmp_path), load_encoder(tmp_path)
    check_patch_encoder(network)
    assert not network.train().training
    pixels = images(network.image_size, 2)
    standardised = standardise(pixels, encoder.mean, encoder.std)
    with torch.no_grad():
        whole = network(standardised)
        assert torch.allclose(whole, encoder.tokens(pixels), atol=1e-5)
        order = torch.rand(4, whole.shape[1], generator=torch.Generator().manual_seed(0)).argsort(1)
        shuffled = network(standardised, order)
    expected = whole.repeat_interleave(2, 0).gather(1, order[..., None].expand(-1, -1, whole.shape[2]))
    assert torch.allclose(shuffled, expected, atol=1e-5)


@pytest.mark.parametrize("name", TRAINED)
def test_what_was_trained_goes_back_to_timm(tmp_path, name):
    timm_folder(tmp_path / "first", name, **TRAINED[name])
    network = open_trainable(tmp_path / "first")
    scattered(network)
    network.save(tmp_path / "back")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'back'}", pretrained=True).eval()
    pixels = torch.randn(2, 3, *network.image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens = theirs.forward_features(pixels)[:, network.prefix :]
        assert torch.allclose(network(pixels), tokens, atol=1e-5)
    again, first = load_encoder(tmp_path / "back"), load_encoder(tmp_path / "first")
    assert (again.frame, again.mean, again.licence) == (first.frame, first.mean, first.licence)


def test_what_cannot_be_trained_is_refused(tmp_path):
    for name in ("beit_base_patch16_224", "resnet18"):
        timm_folder(tmp_path / name, name)
        with pytest.raises(UsageError, match="cannot be trained further"):
            open_trainable(tmp_path / name)
    with pytest.raises(UsageError, match="is opened by --init"):
        open_trainable(tmp_path)


HOW = {
    "batch_size": 8,
    "workers": 0,
    "device": "cpu",
    "precision": "float32",
    "predictor_dim": 16,
    "predictor_heads": 2,
}
HOW |= {"log_every": 1, "lr": 3e-3, "masks_per_image": 1, "steps": 20}


@pytest.mark.parametrize("name", list(TRAINED)[:4])
def test_training_goes_on_and_its_encoder_goes_back_to_timm(tmp_path, photos, name):
    timm_folder(tmp_path / "first", name, **TRAINED[name])
    network = open_trainable(tmp_path / "first")
    run = openjepa.pretrain(photos, out=tmp_path / "run", model=network, **HOW)
    losses = [record["loss"] for record in read_metrics(run) if "loss" in record]
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])
    encoder = run.encoder()
    first, last = network.state_dict(), encoder.network.state_dict()
    assert any(not torch.equal(first[name], last[name]) for name in last)
    assert encoder.mean == network.mean and encoder.std == network.std
    encoder.network.save(tmp_path / "back")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'back'}", pretrained=True).eval()
    pixels = images(network.image_size, 2)
    with torch.no_grad():
        tokens = theirs.forward_features(standardise(pixels, encoder.mean, encoder.std))[:, network.prefix :]
    assert torch.allclose(encoder.tokens(pixels), tokens, atol=1e-5)
    with pytest.raises(UsageError, match="back"):
        encoder.network.save(tmp_path / "back")


def test_training_resumes_bit_for_bit(tmp_path, photos):
    timm_folder(tmp_path / "first", "vit_small_patch16_dinov3", img_size=64)
    how = HOW | {"model": open_trainable(tmp_path / "first"), "steps": 6}
    whole = openjepa.pretrain(photos, out=tmp_path / "whole", **how)
    parts = openjepa.pretrain(photos, out=tmp_path / "parts", callbacks=[Stop()], **how)
    parts.resume()
    last, again = (run.encoder().network.state_dict() for run in (whole, parts))
    assert all(torch.equal(last[name], again[name]) for name in last)


class Stop(openjepa.Callback):
    """Stops a run after 3 steps."""

    def on_step(self, step, loss):
        if step == 3:
            raise openjepa.StopTraining("for the test")
