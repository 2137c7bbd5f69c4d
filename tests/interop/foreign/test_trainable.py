"""Vision transformers of other libraries that are trained further: subsets of patches, and back to their library."""

from typing import Any

import pytest
import timm
import torch
import transformers
from support.foreign import images, scattered, timm_folder, transformers_folder

from openjepa.data.crops import standardise
from openjepa.errors import UsageError
from openjepa.interop.foreign.trainable import from_module, open_trainable
from openjepa.interop.foreign.trainable_transformers import TYPES
from openjepa.interop.load import load_encoder
from openjepa.models.protocol import check_patch_encoder

# Class token; LayerScale and positions of patches alone; registers; rotary positions with registers; with SwiGLU.
TRAINED: dict[str, dict[str, Any]] = {
    "vit_base_patch16_224": {},
    "deit3_small_patch16_224": {},
    "vit_small_patch14_reg4_dinov2": {"img_size": 56},
    "vit_small_patch16_dinov3": {"img_size": 64},
    "eva02_tiny_patch14_224": {"img_size": 56},
    "vit_base_patch16_clip_224": {"img_size": 64},
}


@pytest.mark.parametrize("name", [*TRAINED, *TYPES])
@pytest.mark.parametrize("image_size", [None, (48, 32)])
def test_subsets_of_patches(tmp_path, name, image_size):
    if name in TYPES:
        transformers_folder(tmp_path, name)
    else:
        image_size = image_size and tuple(2 * TRAINED[name].get("img_size", 32) // n for n in (1, 2))
        timm_folder(tmp_path, name, **TRAINED[name])
    network, encoder = open_trainable(tmp_path, image_size), load_encoder(tmp_path, image_size=image_size)
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


@pytest.mark.parametrize("name", ["dinov2_with_registers", "dinov3_vit", "vit"])
def test_what_was_trained_goes_back_to_transformers(tmp_path, name):
    transformers_folder(tmp_path / "first", name)
    network = open_trainable(tmp_path / "first", (48, 48))
    scattered(network)
    network.save(tmp_path / "back")
    theirs = transformers.AutoModel.from_pretrained(tmp_path / "back").eval()
    pixels = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    how = {"interpolate_pos_encoding": True} if name == "vit" else {}
    with torch.no_grad():
        tokens = theirs(pixels, **how).last_hidden_state[:, network.prefix :]
        assert torch.allclose(network(pixels), tokens, atol=1e-5)
    again = load_encoder(tmp_path / "back")
    assert (again.frame, again.mean) == (load_encoder(tmp_path / "first", image_size=(48, 48)).frame, network.mean)


def test_what_cannot_be_trained_is_refused(tmp_path):
    transformers_folder(tmp_path / "swin", "swin")
    with pytest.raises(UsageError, match="cannot be trained further, because its code cannot read a part of the patch"):
        open_trainable(tmp_path / "swin")
    transformers_folder(tmp_path / "dinov2", "dinov2")
    with pytest.raises(UsageError, match="has patches of 8 px: give an image size that is a multiple"):
        open_trainable(tmp_path / "dinov2", (36, 36))
    for name in ("beit_base_patch16_224", "resnet18"):
        timm_folder(tmp_path / name, name)
        with pytest.raises(UsageError, match="cannot be trained further"):
            open_trainable(tmp_path / name)
    with pytest.raises(UsageError, match="is opened by --init"):
        open_trainable(tmp_path)


@pytest.mark.parametrize("name", ["vit_small_patch14_reg4_dinov2", "eva02_tiny_patch14_224", "dinov3_vit", "vit"])
def test_a_module_is_taken_as_it_is(tmp_path, name):
    transformer = name in TYPES
    module = transformers_folder(tmp_path, name) if transformer else timm_folder(tmp_path, name)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    network, opened = from_module(module), open_trainable(tmp_path)
    pixels = torch.randn(2, 3, *network.image_size, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[0, 3], [1, 2]])
    with torch.no_grad():
        assert torch.allclose(network(pixels, ids), opened(pixels, ids), atol=1e-5)
        network.model.patch_embed.proj.bias.add_(1) if not transformer else network.model.embeddings.cls_token.add_(1)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_a_module_that_cannot_be_built_again_is_refused():
    changed = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32, depth=1, mlp_ratio=3)
    with pytest.raises(UsageError, match=r"arguments that cannot be read off it .*open_trainable\(folder\)"):
        from_module(changed)
    changed = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32, depth=1, act_layer="relu")
    with pytest.raises(UsageError, match="computes something else"):
        from_module(changed)
    assert from_module(torch.nn.Linear(1, 1)) is None
