"""Label-free measurements of a method on a fixed set of images: does it learn content, position only, or nothing?"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from openjepa.device import where_exact
from openjepa.masking.samplers import sample_masks
from openjepa.masking.settings import MaskSettings
from openjepa.methods.base import Method
from openjepa.methods.energy import energy_gap
from openjepa.methods.masked import MaskedMethod
from openjepa.models.vit import take
from openjepa.training.distributed import whole
from openjepa.training.monitoring_intervals import MONITORED


def effective_rank(embeddings: Tensor) -> float:
    """exp of the entropy of the normalised singular values of embeddings [n, D], in [1, D].

    RankMe (Garrido et al. 2023, arXiv 2210.02885, equation 1), on centred embeddings, because a mean common to all
    images does not distinguish them. NaN where embeddings are not finite.
    """
    if not embeddings.isfinite().all():
        return math.nan
    centred = (embeddings - embeddings.mean(dim=0)).float()
    values = torch.linalg.svdvals(centred.to(where_exact(centred.device)))
    fractions = values / values.sum().clamp_min(1e-12) + 1e-7
    return float(torch.exp(-(fractions * fractions.log()).sum()))


def positional_fraction(tokens: Tensor) -> float:
    """Fraction, in [0, 1], of the variance of patch tokens [B, N, D] that the mean token of each position explains."""
    overall = tokens.mean(dim=(0, 1))
    between = (tokens.mean(dim=0) - overall).square().mean()
    return float(between / (tokens - overall).square().mean().clamp_min(1e-12))


def relative_std(embeddings: Tensor, tokens: Tensor) -> float:
    """Std of an embedding's dimensions over images, over the root mean square of the tokens it averages."""
    return float(embeddings.std(dim=0, correction=0).mean() / tokens.square().mean().sqrt().clamp_min(1e-12))


def alignment(one: Tensor, other: Tensor) -> float:
    """Mean squared distance of two views of each image on the unit sphere, [n, D] each: 0 where they agree, at most 4.

    Wang and Isola 2020, arXiv 2005.10242, equation 2 with alpha = 2.
    """
    return float((one - other).square().sum(dim=1).mean())


def uniformity(embeddings: Tensor) -> float:
    """log of the mean of exp(-2 d^2) over the distances d of all pairs of [n, D] on the unit sphere, in [-8, 0].

    0 where all images are in one place (Wang and Isola 2020, arXiv 2005.10242, equation 3 with t = 2).
    """
    distances = torch.pdist(embeddings.to(where_exact(embeddings.device))).square()  # MPS has no pdist
    return float((-2 * distances).exp().mean().log()) if len(distances) else 0.0


@torch.no_grad()
def ema_distance(model: Method) -> float:
    """Distance between the weights of target and context encoder over the norm of the latter."""
    pairs = zip(model.encoder.parameters(), model.context_encoder.parameters(), strict=True)
    sums = [torch.stack([whole((t - c).square().sum()), whole(c.square().sum())]) for t, c in pairs]
    gaps, norms = zip(*torch.stack(sums).tolist(), strict=True)  # one transfer from a GPU, not one for each parameter
    return (sum(gaps) / sum(norms)) ** 0.5


@dataclass(frozen=True)
class InParts:
    """Images [n, C, H, W] that stay on the CPU as they are, in parts that `prepare` standardises on the device."""

    images: Tensor
    prepare: Callable[[Tensor], Tensor]

    def __iter__(self) -> Iterator[Tensor]:
        return (self.prepare(part) for part in self.images.split(MONITORED) if len(part))


@dataclass(frozen=True)
class Monitor:
    """Measures a method on `images` [n, C, H, W] (standardised, on the device), n of about 256.

    `masks` is None for a method without masks; `dtype` is that of the networks' products. `more` are further batches of
    images, of which the rank alone is computed: an estimate from fewer images than dimensions is bounded by the images.
    `pairs` [2, n, C, H, W] are two views of each image, for a method that compares views.
    """

    images: Tensor
    masks: MaskSettings | None
    seed: int
    dtype: torch.dtype = torch.float32
    more: Iterable[Tensor] = ()
    pairs: Tensor | None = None

    @torch.no_grad()
    def __call__(self, model: Method) -> dict[str, float]:
        """Measure what the method has: rank and std always; positional_fraction and energy_gap, ema_distance.

        positional_fraction and energy_gap need targets and a predictor, ema_distance a target encoder; alignment and
        uniformity are of the `pairs`.
        """
        tokens = self._tokens(model, self.images)
        embeddings = tokens.mean(dim=1)
        others = [self._tokens(model, images).mean(dim=1) for images in self.more]
        measured = {"rank": effective_rank(torch.cat([embeddings, *others])), "std": relative_std(embeddings, tokens)}
        if isinstance(model, MaskedMethod) and self.masks:
            measured |= self._predictions(model, self.masks)
        if self.pairs is not None:
            one, other = (F.normalize(self._tokens(model, view).mean(dim=1), dim=1) for view in self.pairs)
            measured |= {"alignment": alignment(one, other), "uniformity": uniformity(one)}
        return measured | ({"ema_distance": ema_distance(model)} if model.has_target_encoder else {})

    def _tokens(self, model: Method, images: Tensor) -> Tensor:
        """Patch tokens [n, N, D], float32, of standardised images."""
        with torch.autocast(self.images.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return model.encoder(images).float()

    def _predictions(self, model: MaskedMethod, masks: MaskSettings) -> dict[str, float]:
        device, count = self.images.device, len(self.images)
        # One layout for all images, so that mismatched pairs differ in content only.
        layout = sample_masks(masks, 1, self.seed, 0)
        context_ids = layout.context_ids.to(device).expand(count, -1)
        target_ids = layout.target_ids.to(device).expand(count, -1, -1)
        everywhere = torch.arange(masks.num_patches, device=device).expand(count, 1, -1)
        with torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32):
            targets = model.targets(self.images, everywhere).squeeze(1).float()
            predicted = model.predict(self.images, context_ids, target_ids)
        return {
            "positional_fraction": positional_fraction(targets),
            "energy_gap": float(energy_gap(predicted, take(targets, target_ids))),
        }
