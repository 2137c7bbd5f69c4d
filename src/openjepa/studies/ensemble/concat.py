"""Concatenated features: fitted so that each member counts the same, and no wider than asked for."""

from collections.abc import Sequence

import torch
from torch import Tensor

from openjepa.encoder.joined import Joined
from openjepa.errors import UsageError
from openjepa.interop.ensembles.member import Member

MOST_NUMBERS = 16_384  # of all members side by side: the projection is found among their covariances


def joined_of(members: Sequence[Member], embeddings: Sequence[Tensor], width: int | None = None) -> Joined:
    """The network of the members side by side, fitted to their embeddings [n, D] of the same images.

    Each member is centred and scaled to a total variance of 1. With a `width`, the joined numbers are projected on
    their first principal components. Raises UsageError for a width that there is not.
    """
    numbers = sum(part.shape[1] for part in embeddings)
    check_width(width, min(numbers, len(embeddings[0]) - 1))
    scales = [part.double().var(dim=0).sum().clamp(min=1e-24).rsqrt().expand(part.shape[1]) for part in embeddings]
    centre = torch.cat([part.double().mean(dim=0) for part in embeddings])
    scale = torch.cat(scales)
    matrix = None
    if width is not None:
        joined = (torch.cat([*embeddings], dim=1).double() - centre) * scale
        matrix = principal(joined, width).float()
    networks, reads = [member.network for member in members], [member.reads for member in members]
    return Joined(networks, reads, centre.float(), scale.float(), matrix)


def check_width(width: int | None, most: int) -> None:
    """Raise UsageError for a width that the joined features do not have."""
    if width is not None and not 1 <= width <= most:
        raise UsageError(f"--width {width} is not possible: these models and images give 1 to {most:,} numbers")


def principal(rows: Tensor, width: int) -> Tensor:
    """The directions [D, width] in which centred rows [n, D] vary most, each of length 1, the largest number positive.

    Raises UsageError for a D of which no covariance is held.
    """
    if rows.shape[1] > MOST_NUMBERS:
        raise UsageError(
            f"{rows.shape[1]:,} numbers of all models are more than can be projected, {MOST_NUMBERS:,}: leave out "
            "--width, or give fewer models"
        )
    directions = torch.linalg.eigh(rows.T @ rows / len(rows)).eigenvectors.flip(1)[:, :width]
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    return directions * largest.sign()
