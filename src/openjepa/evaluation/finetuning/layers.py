"""The parameters of a network by layer, so that early ones can train slower than late ones."""

from typing import Any

from torch import nn

from openjepa.encoder.encoder import Encoder
from openjepa.encoder.foreign import ForeignEncoder


def layers_of(network: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters before the blocks, those of each block, and those that follow, as the modules are registered.

    Raises ValueError for a network that is no sequence of blocks.
    """
    blocks = [list(block.parameters()) for block in blocks_of(network)]
    inside = {id(parameter) for block in blocks for parameter in block}
    whole = list(network.parameters())
    places = [place for place, parameter in enumerate(whole) if id(parameter) in inside]
    return [whole[: places[0]], *blocks, whole[places[-1] + 1 :]]


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """The blocks of a transformer: the outermost list of modules, whose tensors have the same names and shapes.

    Raises ValueError where they have not, as the stages of a network that narrows its grid.
    """
    lists = [
        (name.count("."), list(module))
        for name, module in network.named_modules()
        if isinstance(module, nn.ModuleList | nn.Sequential) and any(True for _ in module.parameters())
    ]
    outermost = min((depth for depth, _ in lists), default=0)
    blocks = max((modules for depth, modules in lists if depth == outermost), key=len, default=[])
    if len({_shapes(block) for block in blocks}) != 1:
        raise ValueError("its modules are not a sequence of equal blocks")
    return blocks


def is_transformer(encoder: Encoder) -> bool:
    """Whether the network of an encoder has patch tokens and equal blocks, so that it can be fine-tuned."""
    network: Any = encoder.network
    try:
        blocks_of(network)
    except ValueError:
        return False
    return not isinstance(encoder, ForeignEncoder) or encoder.has_tokens


def _shapes(module: nn.Module) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((name, tuple(tensor.shape)) for name, tensor in module.state_dict().items())
