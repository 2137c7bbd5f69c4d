import pytest
import torch
from torch import nn

import openjepa
from openjepa.models.protocol import HasLayers, check_patch_encoder, has_blocks, has_statistics
from openjepa.models.vit import VisionTransformer, patchify, take


class Small(nn.Module):
    """A linear layer for each patch: the least that keeps the protocol."""

    def __init__(self) -> None:
        super().__init__()
        self.embed_dim, self.patch_size, self.in_chans = 8, 4, 3
        self.image_size, self.grid_size = (8, 16), (2, 4)
        self.embed = nn.Linear(48, 8)

    def forward(self, images, ids=None):
        pixels = patchify(images, 4)
        return self.embed(pixels if ids is None else take(pixels, ids))


class WithoutSubsets(Small):
    def forward(self, images):
        return super().forward(images)


class AllTokens(Small):
    def forward(self, images, ids=None):
        return super().forward(images)


class Leaking(Small):
    def forward(self, images, ids=None):
        return super().forward(images, ids) + images.mean()


class OneRowAnImage(Small):
    def forward(self, images, ids=None):
        tokens = super().forward(images)
        return tokens if ids is None else tokens.gather(1, ids[: len(images), :, None].expand(-1, -1, 8))


class WithClassToken(Small):
    def forward(self, images, ids=None):
        tokens = super().forward(images, ids)
        return torch.cat([tokens[:, :1], tokens], dim=1)


class NotFinite(Small):
    def forward(self, images, ids=None):
        return super().forward(images, ids) / 0


def changed(**attributes):
    network = Small()
    for name, value in attributes.items():
        setattr(network, name, value)
    return network


@pytest.mark.parametrize("network", [Small(), VisionTransformer((8, 12), 4, depth=2)], ids=["small", "vit"])
def test_a_network_that_keeps_the_protocol_is_left_as_it_was(network):
    network.train()
    state, seed = {name: value.clone() for name, value in network.state_dict().items()}, torch.get_rng_state()
    check_patch_encoder(network)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), seed) and all(module.training for module in network.modules())


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (nn.Linear(2, 2), "it has no embed_dim"),
        (changed(in_chans=None), "it has no in_chans"),
        (changed(patch_size=(4, 4)), "its patch_size is (4, 4), not a whole number"),
        (changed(image_size=8), "its image_size is 8, not (rows, columns)"),
        (changed(grid_size=(4, 2)), "its grid_size (4, 2) is not image_size (8, 16) over patch_size 4"),
        (changed(image_size=(9, 16)), "its grid_size (2, 4) is not image_size (9, 16) over patch_size 4"),
        (changed(embed_dim=9), "called with (images) it returns [2, 8, 8], not patch tokens [2, 8, 9]"),
        (WithClassToken(), "called with (images) it returns [2, 9, 8], not patch tokens [2, 8, 8]"),
        (WithoutSubsets(), "called with (images, ids) it raises TypeError"),
        (AllTokens(), "called with (images, ids) it returns [2, 8, 8], not patch tokens [4, 4, 8]"),
        (OneRowAnImage(), "called with (images, ids) it returns [2, 4, 8], not patch tokens [4, 4, 8]"),
        (Leaking(), "its tokens of visible patches change with the pixels of hidden patches"),
        (NotFinite(), "called with (images) it returns numbers that are not finite"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_a_network_lacks_is_named(network, why):
    with pytest.raises(ValueError) as caught:
        check_patch_encoder(network)
    assert str(caught.value).startswith(why)


def test_our_vit_has_blocks_and_layers_and_a_small_network_need_not():
    ours = VisionTransformer((8, 8), 4, depth=1)
    assert has_blocks(ours) and isinstance(ours, HasLayers)
    assert not has_blocks(Small()) and not isinstance(Small(), HasLayers)
    assert openjepa.PatchEncoder.__name__ == "PatchEncoder"


def test_statistics_may_be_buffers():
    """On Python 3.12 and later isinstance with a protocol sees neither the children nor the buffers of a module."""
    network = Small()
    assert not has_statistics(network)
    network.register_buffer("mean", torch.zeros(3))
    network.register_buffer("std", torch.ones(3))
    assert has_statistics(network)
