"""Concatenated features: fitted so that each member counts the same, and no wider than asked for."""

from collections.abc import Sequence

import torch
from torch import Tensor

from openjepa.encoder.joined import Joined
from openjepa.encoder.whitening import Whitening
from openjepa.errors import UsageError
from openjepa.interop.ensembles.member import Member

MOST_NUMBERS = 16_384  # of all members side by side: they are multiplied by a matrix of so many rows


def joined_of(members: Sequence[Member], embeddings: Sequence[Tensor], width: int | None = None) -> Joined:
    """The network of the members side by side, fitted to their embeddings [n, D] of the same images.

    Each member is whitened in part, as search does (`Whitening`), where there are images enough, and scaled to a total
    variance of 1. With a `width`, the joined numbers are projected on their first principal components. Raises
    UsageError for a width that there is not, and for too many numbers.
    """
    numbers = sum(part.shape[1] for part in embeddings)
    check_width(width, min(numbers, len(embeddings[0]) - 1))
    if numbers > MOST_NUMBERS:
        raise UsageError(f"all models give {numbers:,} numbers, and {MOST_NUMBERS:,} are the most: give fewer models")
    matrix = torch.block_diag(*map(_to_count_the_same, embeddings))
    centre = torch.cat([part.double().mean(dim=0) for part in embeddings])
    if width is not None:
        joined = (torch.cat([*embeddings], dim=1).double() - centre) @ matrix
        matrix = matrix @ principal(joined, width)
    networks, reads = [member.network for member in members], [member.reads for member in members]
    return Joined(networks, reads, centre.float(), torch.ones(numbers), matrix.float())


def _to_count_the_same(embeddings: Tensor) -> Tensor:
    """The matrix [D, D] float64 by which centred embeddings [n, D] get a total variance of 1, whitened in part."""
    whitening = Whitening.fit(embeddings)
    matrix = torch.eye(embeddings.shape[1], dtype=torch.float64) if whitening is None else whitening.matrix.double()
    found = (embeddings.double() - embeddings.double().mean(dim=0)) @ matrix
    return matrix * found.var(dim=0).sum().clamp(min=1e-24).rsqrt()


def check_width(width: int | None, most: int) -> None:
    """Raise UsageError for a width that the joined features do not have."""
    if width is not None and not 1 <= width <= most:
        raise UsageError(f"--width {width} is not possible: these models and images give 1 to {most:,} numbers")


def principal(rows: Tensor, width: int) -> Tensor:
    """The directions [D, width] in which centred rows [n, D] vary most: of length 1, the largest number positive."""
    directions = torch.linalg.eigh(rows.T @ rows / len(rows)).eigenvectors.flip(1)[:, :width]
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    return directions * largest.sign()
