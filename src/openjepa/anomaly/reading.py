"""What is read of images for all scores at once: patch features, and energies where they are asked for."""

import torch
from torch import Tensor

from openjepa.anomaly.energy import Energies
from openjepa.anomaly.patches import PatchFeatures, PatchModel


class Reader:
    """Preprocessed images [B, C, H, W] to one tensor [B, N, D + 1]: features, then the energy, 0 without `energies`."""

    def __init__(self, features: PatchFeatures, energies: Energies | None = None) -> None:
        self.features, self.energies = features, energies

    @property
    def model(self) -> PatchModel:
        return self.features.model

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        features = self.features(images)
        energies = self.energies.maps(images) if self.energies else torch.zeros(features.shape[:2])
        return torch.cat([features, energies.unsqueeze(-1)], dim=-1)

    @torch.inference_mode()
    def turned(self, images: Tensor) -> Tensor:
        """Of square images also turned by 90, 180 and 270 degrees: [B, 4 * N, D + 1], the upright one first."""
        return torch.cat([self(torch.rot90(images, quarter, dims=(2, 3))) for quarter in range(4)], dim=1)
