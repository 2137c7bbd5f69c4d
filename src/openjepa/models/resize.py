"""A trained encoder at another resolution or number of channels, its responses preserved."""

import torch
from torch import Tensor

from openjepa.models.predictor import Predictor
from openjepa.models.vit import VisionTransformer, sincos_positions

STEM, BIAS = "patch_embed.proj.weight", "patch_embed.proj.bias"


def hollow(**arguments) -> VisionTransformer:
    """A network without numbers, to be filled: drawing what is then thrown away takes long for large ones."""
    with torch.device("meta"):
        return VisionTransformer(**arguments)


def fill(network: VisionTransformer, state: dict[str, Tensor], positions: Tensor) -> VisionTransformer:
    """Give a hollow network its tensors, which are not copied, and its positions [N, D]."""
    network.pos_embed = positions
    network.load_state_dict(
        {**state, **({"pos_embed": positions} if "pos_embed" in network.state_dict() else {})}, assign=True
    )
    return network


def hollow_predictor(**arguments) -> Predictor:
    """A predictor without numbers, to be filled by `fill_predictor`."""
    with torch.device("meta"):
        return Predictor(**arguments)


def fill_predictor(predictor: Predictor, state: dict[str, Tensor], positions: Tensor | None = None) -> Predictor:
    """Give a hollow predictor its tensors, which are not copied, and positions [N, D], by default its sin-cos code."""
    if positions is None:
        width = predictor.mask_token.shape[-1]
        positions = sincos_positions(predictor.grid_size, width, predictor.native_size)
    predictor.load_state_dict(state, assign=True)
    predictor.pos_embed = positions
    return predictor


def weights_of(encoder: VisionTransformer) -> dict[str, Tensor]:
    """Every trained tensor, by name, without the positions."""
    return {name: value for name, value in encoder.state_dict().items() if name != "pos_embed"}


def at_size(encoder: VisionTransformer, image_size: tuple[int, int]) -> VisionTransformer:
    """The encoder for images of `image_size` (rows, columns): same weights, positions laid over the same extent.

    A sin-cos code is evaluated between the patches trained on, a learned table is interpolated. Weights are shared with
    `encoder`. Raises ValueError if the patch size does not divide the image size.
    """
    adapted = hollow(**encoder.arguments() | {"image_size": image_size})
    positions = encoder.positions(torch.empty(1, 1, *image_size, device="meta"))
    return fill(adapted, weights_of(encoder), positions)


def predictor_at(predictor: Predictor, grid_size: tuple[int, int]) -> Predictor:
    """The predictor for another grid (rows, columns), with the same weights, shared, laid over the same extent."""
    return fill_predictor(hollow_predictor(**predictor.arguments() | {"grid_size": grid_size}), predictor.state_dict())


def at_channels(
    encoder: VisionTransformer, mean: list[float], std: list[float], channels: int
) -> tuple[VisionTransformer, list[float], list[float]]:
    """The encoder, mean and std for images of another number of channels: more than it has, or 1.

    Of more channels, channel c gets the weights of channel c mod C, divided by the number of channels that get the
    same: images that repeat their channels give the same tokens as before. For 1 channel the stem is summed, the
    differences in mean and std folded into it: grey images give the same tokens as with grey in every channel.
    Raises ValueError.
    """
    old = encoder.in_chans
    if channels != 1 and channels < old:
        raise ValueError(f"an encoder of {old} channels can be made to read 1, or {old} and more, not {channels}")
    adapt = _to_grey if channels == 1 else _to_more
    weights = weights_of(encoder)
    weights[STEM], weights[BIAS], mean, std = adapt(weights[STEM], weights[BIAS], mean, std, channels)
    adapted = hollow(**encoder.arguments() | {"in_chans": channels})
    return fill(adapted, weights, encoder.pos_embed), mean, std


def _to_more(weight: Tensor, bias: Tensor, mean: list[float], std: list[float], channels: int) -> tuple:
    reads = torch.arange(channels) % weight.shape[1]
    weight = weight[:, reads] / reads.bincount()[reads].view(1, -1, 1, 1)
    return weight, bias, [mean[c] for c in reads], [std[c] for c in reads]


def _to_grey(weight: Tensor, bias: Tensor, mean: list[float], std: list[float], _: int) -> tuple:
    grey_mean, grey_std = sum(mean) / len(mean), sum(std) / len(std)
    stds = torch.tensor(std).view(1, -1, 1, 1)
    shift = (grey_mean - torch.tensor(mean).view(1, -1, 1, 1)) / stds
    bias = bias + (weight * shift).sum(dim=(1, 2, 3))
    return (weight * grey_std / stds).sum(dim=1, keepdim=True), bias, [grey_mean], [grey_std]
