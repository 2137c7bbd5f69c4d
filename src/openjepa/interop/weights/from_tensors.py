"""Networks from named tensors: sizes are read off them, and every tensor is used exactly once or nothing is built."""

import math

import torch
from torch import Tensor

from openjepa.errors import UsageError
from openjepa.interop.weights.match import matched
from openjepa.interop.weights.shapes import encoder_arguments, predictor_arguments
from openjepa.interop.weights.tensor_names import depth_of
from openjepa.models.predictor import Predictor
from openjepa.models.resize import STEM, fill, fill_predictor, hollow, hollow_predictor
from openjepa.models.vit import SIZES, VisionTransformer, sincos_positions

HEADS = {embed_dim: num_heads for embed_dim, _, num_heads, _ in SIZES.values()}
CLOSE = 1e-3  # what half-precision files leave of a position code; learned positions are far off


def encoder_from_tensors(
    state: dict[str, Tensor],
    what: str,
    num_heads: int | None = None,
    image_size: tuple[int, int] | None = None,
    norm_eps: float = 1e-6,
) -> VisionTransformer:
    """An encoder from tensors under our names, with `pos_embed` [1, N, D]; float32. `what` names it in messages.

    The grid is `image_size` in patches where it has N of them, else square. Heads leave no trace in the tensors: where
    `num_heads` is not given they are those of the standard size of that width. Raises UsageError, listing what is
    missing, extra, misshapen or not finite.
    """
    if STEM not in state or state[STEM].ndim != 4 or not _has_positions(state):
        raise UsageError(f"{what} is no vision transformer that we know: it has no {STEM} or no pos_embed")
    embed_dim, in_chans, patch_size, _ = state[STEM].shape
    positions = state["pos_embed"][0].float()
    if embed_dim % 4 or positions.shape[1] != embed_dim:
        raise UsageError(
            f"{what} has tokens {embed_dim} wide and positions {positions.shape[1]} wide: it cannot be used"
        )
    grid_size = _grid(positions, patch_size, image_size, what)
    shape = {
        "image_size": (grid_size[0] * patch_size, grid_size[1] * patch_size),
        "patch_size": patch_size,
        "in_chans": in_chans,
        "embed_dim": embed_dim,
        "num_heads": heads_of(embed_dim, num_heads, what),
        "norm_eps": norm_eps,
        **_body(state, embed_dim, what),
    }
    arguments = encoder_arguments(shape, what)
    code = "sincos" if _is_sincos(positions, grid_size) else "table"
    network = hollow(**arguments | {"position_code": code})
    return fill(network, _checked(state, network, what), positions)


def predictor_from_tensors(
    state: dict[str, Tensor], encoder: VisionTransformer, num_heads: int, what: str
) -> Predictor:
    """The predictor of an encoder from tensors under our names; its `pos_embed` [1, N, D] must be the sin-cos code."""
    if "embed.weight" not in state or state["embed.weight"].ndim != 2 or not _has_positions(state):
        raise UsageError(f"{what} is no predictor that we know: it has no embed.weight or no pos_embed")
    dim = state["embed.weight"].shape[0]
    if dim % num_heads:
        raise UsageError(f"{what} is {dim} wide, which {num_heads} heads do not divide: give --num-heads")
    sizes = {"grid_size": encoder.grid_size, "embed_dim": encoder.embed_dim, "dim": dim, "num_heads": num_heads}
    predictor = hollow_predictor(**predictor_arguments(sizes | _body(state, dim, what), what))
    weights, positions = _checked(state, predictor, what), state["pos_embed"][0].float()
    if positions.shape != predictor.pos_embed.shape or not _is_sincos(positions, encoder.grid_size):
        raise UsageError(f"{what} has positions other than the sin-cos code of {encoder.grid_size}: it cannot be used")
    return fill_predictor(predictor, weights, positions)


def heads_of(embed_dim: int, given: int | None, what: str) -> int:
    """The number of attention heads; raises UsageError where it cannot be known or does not divide the width."""
    heads = given or HEADS.get(embed_dim)
    if heads is None or embed_dim % heads:
        reason = f"{heads} heads do not divide it" if heads else "the tensors do not state how many heads it has"
        raise UsageError(f"{what} is {embed_dim} wide and {reason}: give --num-heads")
    return heads


def _body(state: dict[str, Tensor], dim: int, what: str) -> dict:
    """Depth and width of the hidden layers."""
    hidden = state.get("blocks.0.mlp.fc1.weight")
    if hidden is None or hidden.ndim != 2 or not dim:
        raise UsageError(f"{what} is no vision transformer that we know: it has no blocks.0.mlp.fc1.weight")
    return {"depth": depth_of(state, r"blocks\."), "mlp_ratio": hidden.shape[0] / dim}


def _has_positions(state: dict[str, Tensor]) -> bool:
    positions = state.get("pos_embed")
    if positions is None or not positions.is_floating_point():
        return False
    return positions.ndim == 3 and positions.shape[0] == 1


def _grid(positions: Tensor, patch_size: int, image_size: tuple[int, int] | None, what: str) -> tuple[int, int]:
    patches = positions.shape[-2]
    if image_size and math.prod(image_size) == patches * patch_size**2 and not any(s % patch_size for s in image_size):
        return image_size[0] // patch_size, image_size[1] // patch_size
    side = math.isqrt(patches)
    if side * side != patches:
        raise UsageError(f"{what} has {patches} positions, which are no square: give its --image-size as ROWSxCOLUMNS")
    return side, side


def _is_sincos(positions: Tensor, grid_size: tuple[int, int]) -> bool:
    if positions.shape[-1] % 4:
        return False
    return bool((positions - sincos_positions(grid_size, positions.shape[-1])).abs().max() < CLOSE)


def _checked(state: dict[str, Tensor], network: torch.nn.Module, what: str) -> dict[str, Tensor]:
    """The tensors, positions apart, as float32 if they are the network's, one for one, and finite. UsageError."""
    try:
        return matched(state, network)
    except ValueError as error:
        raise UsageError(f"{what} does not fit, so nothing of it is used; {error}") from error
