"""Several networks side by side as one: their patch tokens, each network counting the same, joined and projected."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from openjepa.data.crops import Frame
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.encoder.encoder import Encoder
from openjepa.models.protocol import PatchEncoder


class Reads(NamedTuple):
    """The mean and std of each channel that the images of a network are standardised with."""

    mean: Sequence[float]
    std: Sequence[float]


class Joined(nn.Module):
    """Networks that see the same images, as one from images to patch tokens; the mean over these is the embedding.

    Images [B, C, H, W] are not standardised: each network does so by its own `reads`. Its tokens are shifted by
    `centre` and multiplied by `scale` ([D] of all networks side by side), then projected by `matrix` [D, W] where it
    has columns. Where grids differ, the tokens of coarser ones are repeated; where they do not divide one another,
    there is one token, the embedding.
    """

    def __init__(
        self,
        networks: Sequence[PatchEncoder],
        reads: Sequence[Reads],
        centre: Tensor,
        scale: Tensor,
        matrix: Tensor | None = None,
    ) -> None:
        super().__init__()
        modules: Sequence[nn.Module] = networks  # type: ignore[assignment]  # the protocol is of modules
        self.networks = nn.ModuleList(modules)
        self.parts = list(networks)
        self.image_size, self.in_chans = networks[0].image_size, networks[0].in_chans
        self.grid_size = common_grid([network.grid_size for network in networks])
        self.patch_size = self.image_size[0] // self.grid_size[0]
        values = torch.tensor([[each.mean, each.std] for each in reads])
        self.register_buffer("reads", values[..., None, None])  # [members, 2, C, 1, 1]
        self.register_buffer("centre", centre)
        self.register_buffer("scale", scale)
        self.register_buffer("matrix", scale.new_zeros(len(scale), 0) if matrix is None else matrix)
        self.requires_grad_(False)

    @property
    def embed_dim(self) -> int:
        matrix = self.get_buffer("matrix")
        return matrix.shape[1] or matrix.shape[0]

    def forward(self, images: Tensor, ids: Tensor | None = None) -> Tensor:
        """Images [B, C, H, W] to tokens [B, N, D or W] float32. Raises ValueError for a part of the patches."""
        if ids is not None:
            raise ValueError("an ensemble reads whole images")
        mean, std = self.get_buffer("reads").unbind(1)
        tokens = [
            self._on_grid(network, network((images - mean[row]) / std[row]).float())
            for row, network in enumerate(self.parts)
        ]
        joined = (torch.cat(tokens, dim=2) - self.get_buffer("centre").float()) * self.get_buffer("scale").float()
        matrix = self.get_buffer("matrix").float()
        return joined @ matrix if matrix.shape[1] else joined

    def _on_grid(self, network: PatchEncoder, tokens: Tensor) -> Tensor:
        """Tokens [B, n, D] of a network on the common grid: [B, N, D], with the same mean."""
        if self.grid_size == network.grid_size:
            return tokens
        if self.grid_size == (1, 1):
            return tokens.mean(dim=1, keepdim=True)
        rows, columns = (size // own for size, own in zip(self.grid_size, network.grid_size, strict=True))
        grid = tokens.unflatten(1, network.grid_size)
        return grid.repeat_interleave(rows, dim=1).repeat_interleave(columns, dim=2).flatten(1, 2)

    def extra_repr(self) -> str:
        """What decides the outputs beside the tensors, for hashes."""
        return f"{self.image_size}, {self.grid_size}, {[facts_of(network) for network in self.parts]}"


def facts_of(network: PatchEncoder) -> str:
    """What, beside its weights, decides the outputs of a network."""
    arguments = getattr(network, "arguments", None)
    return str(arguments() if arguments else network)


def common_grid(grids: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The finest of the grids (rows, columns), or (1, 1) where another does not divide it."""
    rows, columns = max(grid[0] for grid in grids), max(grid[1] for grid in grids)
    divides = all(rows % grid[0] == 0 and columns % grid[1] == 0 for grid in grids)
    return (rows, columns) if divides else (1, 1)


class Ensemble(Encoder):
    """Several networks as one, with the frame of its members; other arguments as of `Encoder`."""

    def __init__(
        self,
        network: PatchEncoder,
        mean: list[float],
        std: list[float],
        frame: Frame,
        name: str,
        device: torch.device,
        precision: torch.dtype,
        pixel_format: PixelFormat,
        licence: str | None = None,
    ) -> None:
        super().__init__(network, mean, std, name, device, precision, pixel_format, frame.max_stretch, licence)
        self.seen = frame

    @property
    def frame(self) -> Frame:
        return self.seen
