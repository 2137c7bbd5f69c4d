"""What is read of images for all scores at once: patch features and, of a model with a predictor, energies."""

import torch
from torch import Tensor

from openjepa.anomaly.patches import PatchFeatures, PatchModel


class Reader:
    """Preprocessed images [B, C, H, W] to one tensor [B, N, D] of all that the scores need of them."""

    def __init__(self, features: PatchFeatures) -> None:
        self.features = features

    @property
    def model(self) -> PatchModel:
        return self.features.model

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        return self.features(images)
