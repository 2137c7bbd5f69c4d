"""I-JEPA as an energy-based model: energy is low where a prediction and a target belong together."""

from torch import Tensor


def patch_energies(predicted: Tensor, targets: Tensor) -> Tensor:
    """Mean squared distance of predicted and targets [B, M, Nt, D] for each patch: [B, M, Nt]."""
    return (predicted.float() - targets.float()).square().mean(dim=-1)


def energy(predicted: Tensor, targets: Tensor) -> Tensor:
    """Mean squared distance of predicted and targets [B, M, Nt, D] for each image: [B] (paper, section 2)."""
    return (predicted.float() - targets.float()).square().mean(dim=(1, 2, 3))


def energy_gap(predicted: Tensor, targets: Tensor) -> Tensor:
    """How much of the mismatched energy the content explains: 1 - matched / mismatched, a scalar; 0 means none.

    `targets` [B, M, Nt, D] must be taken at the same places in every image, so that a mismatched pair (the target of
    the next image in the batch) differs in what is there and not in where it is.
    """
    matched = energy(predicted, targets).mean()
    mismatched = energy(predicted, targets.roll(1, dims=0)).mean()
    return 1 - matched / mismatched
