"""Label-free measurements of a model on a fixed set of images: is it learning what, or only where, or nothing?"""

from dataclasses import dataclass

import torch
from torch import Tensor

from openjepa.anomaly.energy import energy_gap
from openjepa.masking.samplers import sample_masks
from openjepa.masking.settings import MaskSettings
from openjepa.methods.base import Method
from openjepa.models.vit import take


def effective_rank(embeddings: Tensor) -> float:
    """exp of the entropy of the normalised singular values of embeddings [n, D], in [1, D].

    RankMe (Garrido et al. 2023, arXiv 2210.02885, equation 1), on centred embeddings: a mean that all images share says
    nothing about them.
    """
    values = torch.linalg.svdvals((embeddings - embeddings.mean(dim=0)).float())
    fractions = values / values.sum().clamp_min(1e-12) + 1e-7
    return float(torch.exp(-(fractions * fractions.log()).sum()))


def positional_fraction(tokens: Tensor) -> float:
    """Share, in [0, 1], of the variance of patch tokens [B, N, D] that the mean token of each position explains."""
    overall = tokens.mean(dim=(0, 1))
    between = (tokens.mean(dim=0) - overall).square().mean()
    return float(between / (tokens - overall).square().mean().clamp_min(1e-12))


def relative_std(embeddings: Tensor, tokens: Tensor) -> float:
    """Std of an embedding's dimensions over images, as a share of the root mean square of the tokens it averages."""
    return float(embeddings.std(dim=0, correction=0).mean() / tokens.square().mean().sqrt().clamp_min(1e-12))


@torch.no_grad()
def ema_distance(model: Method) -> float:
    """Distance of target and context encoder weights over the norm of the context encoder's."""
    pairs = zip(model.target_encoder.parameters(), model.context_encoder.parameters(), strict=True)
    gaps, norms = zip(*((float((t - c).square().sum()), float(c.square().sum())) for t, c in pairs), strict=True)
    return (sum(gaps) / sum(norms)) ** 0.5


@dataclass
class Monitor:
    """Measures a model on `images` [n, C, H, W] (standardised, on the device), n of about 256."""

    images: Tensor
    masks: MaskSettings
    seed: int
    dtype: torch.dtype = torch.float32

    @torch.no_grad()
    def __call__(self, model: Method) -> dict[str, float]:
        """rank, std, positional_fraction, energy_gap and ema_distance of the model as it is."""
        device = self.images.device
        context_ids, target_ids = (ids.to(device) for ids in self._same_places())
        with torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32):
            tokens = model.target_encoder(self.images).float()
            targets = model.targets(self.images, self._everywhere()).squeeze(1).float()
            predicted = model.predict(self.images, context_ids, target_ids)
        embeddings = tokens.mean(dim=1)
        return {
            "rank": effective_rank(embeddings),
            "std": relative_std(embeddings, tokens),
            "positional_fraction": positional_fraction(targets),
            "energy_gap": float(energy_gap(predicted, take(targets, target_ids))),
            "ema_distance": ema_distance(model),
        }

    def _everywhere(self) -> Tensor:
        """The ids [n, 1, N] of all patches, as one target."""
        return torch.arange(self.masks.num_patches, device=self.images.device).expand(len(self.images), 1, -1)

    def _same_places(self) -> tuple[Tensor, Tensor]:
        """One layout for all images, so that mismatched pairs differ in content only."""
        layout = sample_masks(self.masks, 1, self.seed, 0)
        count = len(self.images)
        return layout.context_ids.expand(count, -1), layout.target_ids.expand(count, -1, -1)
