"""What training needs of an encoder, so that networks from elsewhere can be trained too."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, Self, TypeGuard, runtime_checkable

import torch
from torch import Tensor, nn

SIZES = ("image_size", "grid_size")
NUMBERS = ("embed_dim", "patch_size", "in_chans")
LEAKS = 1e-3  # largest change of tokens, beside their size, that rounding explains


class PatchEncoder(Protocol):
    """An `nn.Module` from images to patch tokens that can read any subset of the patches of an image.

    embed_dim   numbers in a token, D
    patch_size  pixels of a patch's side; divides the image size
    in_chans    channels of the images, C
    image_size  (rows, columns) in pixels
    grid_size   (rows, columns) of patches, N in all, numbered row by row from the top left

    Called with images [B, C, H, W] (float32, standardised) it returns tokens [B, N, D]. Called with images and `ids`
    [B * m, Nc] (int64), m consecutive rows for each image, it returns [B * m, Nc, D]: tokens of these patches, computed
    from these patches alone. `openjepa.models.vit.take` selects tokens, pixels or positions by such ids.

    It returns patch tokens only; a class token or registers stay inside. The methods below are those of `nn.Module`.
    """

    @property
    def embed_dim(self) -> int: ...

    @property
    def patch_size(self) -> int: ...

    @property
    def in_chans(self) -> int: ...

    @property
    def image_size(self) -> tuple[int, int]: ...

    @property
    def grid_size(self) -> tuple[int, int]: ...

    def __call__(self, images: Tensor, ids: Tensor | None = None, /) -> Tensor: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def modules(self) -> Iterator[nn.Module]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...

    def requires_grad_(self, requires_grad: bool = True, /) -> Self: ...

    def zero_grad(self, set_to_none: bool = True) -> None: ...

    def to(self, device: Any, /) -> Self: ...

    def eval(self) -> Self: ...

    def train(self, mode: bool = True, /) -> Self: ...


class HasParameters(Protocol):
    """A network whose weights can be listed."""

    def parameters(self) -> Iterator[nn.Parameter]: ...


@runtime_checkable
class HasLayers(Protocol):
    """An encoder that also gives the tokens of inner blocks, which linear probes read."""

    def layers(self, images: Tensor, count: int, /) -> list[Tensor]:
        """Patch tokens [B, N, D] of each of the last `count` blocks (of all, where there are fewer), oldest first.

        The last equals the tokens of the whole network.
        """


class HasStatistics(Protocol):
    """An encoder that was trained before, on images standardised with `mean` and `std` of each channel, in [0, 1]."""

    @property
    def mean(self) -> list[float]: ...

    @property
    def std(self) -> list[float]: ...


class HasBlocks(Protocol):
    """A network that consists of blocks, which can be compiled, checkpointed and sharded one by one."""

    @property
    def blocks(self) -> Iterable[nn.Module]: ...


# Not by isinstance: from Python 3.12 on it does not see what a module keeps as a child or as a buffer.
def has_blocks(network: object) -> TypeGuard[HasBlocks]:
    return hasattr(network, "blocks")


def has_statistics(network: object) -> TypeGuard[HasStatistics]:
    return hasattr(network, "mean") and hasattr(network, "std")


def check_patch_encoder(network: nn.Module) -> None:
    """Raise ValueError, which names what is missing, unless a network keeps the protocol `PatchEncoder`.

    Its attributes are read, and two images of noise go through it, in evaluation mode and without gradients.
    """
    for name in (*NUMBERS, *SIZES):
        _check_attribute(name, getattr(network, name, None))
    found: Any = network
    rows, columns = (side // found.patch_size for side in found.image_size)
    if tuple(found.grid_size) != (rows, columns) or any(side % found.patch_size for side in found.image_size):
        raise ValueError(
            f"its grid_size {tuple(found.grid_size)} is not image_size {tuple(found.image_size)} over patch_size "
            f"{found.patch_size}"
        )
    with evaluating(network), torch.no_grad(), torch.random.fork_rng(devices=[]):
        _check_tokens(network, rows * columns)


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Within this context a network is in evaluation mode, without dropout; then each module is as it was before."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _check_attribute(name: str, value: Any) -> None:
    if value is None:
        raise ValueError(f"it has no {name}")
    parts = value if name in SIZES and isinstance(value, tuple | list) and len(value) == 2 else [value]
    wrong = [part for part in parts if isinstance(part, bool) or not isinstance(part, int) or part < 1]
    if wrong or (name in SIZES and len(parts) != 2):
        raise ValueError(f"its {name} is {value!r}, not {'(rows, columns)' if name in SIZES else 'a whole number'}")


def _check_tokens(network: Any, patches: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, network.in_chans, *network.image_size, generator=generator)
    images = images.to(next(network.parameters()).device)
    _called(network, (images,), (2, patches, network.embed_dim))
    if patches < 2:
        raise ValueError("it has a single patch: nothing can be hidden")
    order = torch.rand(4, patches, generator=generator).argsort(dim=1).to(images.device)
    ids = order[:, : patches // 2]  # two rows for each image
    tokens = _called(network, (images, ids), (4, ids.shape[1], network.embed_dim))
    shown = torch.zeros(2, patches, dtype=torch.bool, device=images.device)
    shown = shown.scatter(1, ids.reshape(2, -1), True).view(2, 1, *network.grid_size).float()
    mask = nn.functional.interpolate(shown, size=tuple(network.image_size), mode="nearest")
    other = _called(network, (images * mask - 3 * (1 - mask), ids), tokens.shape)
    if not float((tokens - other).abs().max()) <= LEAKS * float(tokens.abs().max()):
        raise ValueError("its tokens of visible patches change with the pixels of hidden patches")


def _called(network: nn.Module, inputs: tuple[Tensor, ...], shape: tuple[int, ...]) -> Tensor:
    """What the network returns; raises ValueError for an error in it, and unless it is a tensor of that shape."""
    how = "(images)" if len(inputs) == 1 else "(images, ids)"
    try:
        tokens = network(*inputs)
    except Exception as error:  # raised by code of the user's
        raise ValueError(f"called with {how} it raises {type(error).__name__}: {str(error)[:200]}") from error
    given = list(tokens.shape) if isinstance(tokens, Tensor) else type(tokens).__name__
    if given != list(shape):
        raise ValueError(f"called with {how} it returns {given}, not patch tokens {list(shape)}")
    if not tokens.isfinite().all():
        raise ValueError(f"called with {how} it returns numbers that are not finite")
    return tokens
