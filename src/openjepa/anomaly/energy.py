"""Energy: how badly a predictor foretells what is in a region from its context.

E(x, y) of a context x and a region y is low where both belong together (Assran et al. 2023, section 2; LeCun 2022).
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from openjepa.encoder.baselines import seeded, untrained_like
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError
from openjepa.interop.loaded_weights import Source
from openjepa.methods.energy import patch_energies
from openjepa.methods.mae import patch_pixels, pixel_targets
from openjepa.models.predictor import Predictor
from openjepa.models.protocol import PatchEncoder
from openjepa.models.vit import take

DRAWS = 4  # contexts from which each patch is foretold
BLOCK = 4  # patches on the side of a hidden block
GIVE = "give a run, or an artifact that was exported or imported with its predictor"
PIXELS, BOTH = "mae", "hybrid"  # methods whose targets are not the representations alone


class Hidden(NamedTuple):
    """Patches to see [Nc] and patches to foretell [Nt]."""

    context: Tensor
    targets: Tensor


class Energies:
    """Energies of preprocessed images [B, C, H, W] under the networks of a source and the encoder that reads it.

    Raises UsageError for a source without a predictor, and for one that predicts what a teacher gave.
    """

    def __init__(self, encoder: Encoder, source: Source, draws: int = DRAWS) -> None:
        if source.predictor is None:
            raise UsageError(f"{source.name} has no predictor, which energy needs: {GIVE}")
        self.encoder, self.draws = encoder, draws
        self.predictor = source.predictor.to(encoder.device).eval()
        self.context, self.target = (source.encoder(which).to(encoder.device).eval() for which in ("context", "target"))
        self.method = _method(source, self.target, self.predictor.proj.out_features)

    @property
    def grid_size(self) -> tuple[int, int]:
        return self.encoder.grid_size

    def hash(self) -> str:
        """Of the weights of the predictor and the encoder of contexts."""
        found = hashlib.sha256(self.method.encode())
        for network in (self.predictor, self.context):
            for value in network.state_dict().values():
                found.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return found.hexdigest()

    @torch.inference_mode()
    def maps(self, images: Tensor) -> Tensor:
        """The energy of every patch given what surrounds its block, [B, N] float32 on the CPU.

        Each patch is foretold from `draws` contexts; the mean of the lower half of its energies is kept, so that a
        context that happens to hide what matters does not count against it.
        """
        return torch.cat([self._maps(part) for part in self.encoder.parts(images)])

    def _maps(self, images: Tensor) -> Tensor:
        pixels, (rows, columns) = self.encoder.standardised(images), self.grid_size
        found = torch.empty(self.draws, len(images), rows * columns)
        for draw in range(self.draws):
            for hidden in checkerboards(self.grid_size, draw):
                found[draw][:, hidden.targets] = self._patches(pixels, pixels, hidden)
        return found.sort(dim=0).values[: -(-self.draws // 2)].mean(dim=0)

    @torch.inference_mode()
    def pairs(self, images: Tensor, others: Tensor, region: Tensor) -> Tensor:
        """E(context of an image, region of another): [B] float32, lower where both belong together.

        region  numbers of patches [Nt], row by row from the top left; the context is all other patches. With `others`
                the same images it is the energy of an image's own region
        """
        hidden = everything_but(region, self.grid_size)
        pixels, theirs = (self.encoder.standardised(part) for part in (images, others))
        return self._patches(pixels, theirs, hidden).mean(dim=1)

    @torch.inference_mode()
    def predicted(self, images: Tensor, hidden: Hidden) -> Tensor:
        """What the predictor foretells of the hidden patches from the visible ones: [B, Nt, D] float32 on the CPU.

        D is the width of `targets`; the energy of a patch is the mean square of the difference between both.
        """
        parts = (self.encoder.standardised(part) for part in self.encoder.parts(images))
        return torch.cat([self._predicted(part, hidden).cpu() for part in parts])

    @torch.inference_mode()
    def targets(self, images: Tensor) -> Tensor:
        """What is foretold of every patch: [B, N, D] float32 on the CPU.

        Representations, each of zero mean and unit variance, or the pixels of a patch where the method predicts these.
        """
        ids = torch.arange(self.grid_size[0] * self.grid_size[1], device=self.encoder.device)
        parts = (self.encoder.standardised(part) for part in self.encoder.parts(images))
        return torch.cat([self._targets(part, ids.expand(len(part), 1, -1)).cpu() for part in parts])

    def _patches(self, pixels: Tensor, others: Tensor, hidden: Hidden) -> Tensor:
        """Energies [B, Nt] of the hidden patches of `others` given the visible ones of `pixels`."""
        target_ids = hidden.targets.to(pixels.device).expand(len(others), 1, -1)
        found = patch_energies(self._predicted(pixels, hidden)[:, None], self._targets(others, target_ids)[:, None])
        return found[:, 0].cpu()

    def _predicted(self, pixels: Tensor, hidden: Hidden) -> Tensor:
        context_ids = hidden.context.to(pixels.device).expand(len(pixels), -1)
        target_ids = hidden.targets.to(pixels.device).expand(len(pixels), 1, -1)
        with self.encoder.arithmetic():
            found = self.predictor(self.context(pixels, context_ids), context_ids, target_ids)[:, 0]
        return found[..., : patch_pixels(self.target) if self.method == PIXELS else self.target.embed_dim].float()

    def _targets(self, pixels: Tensor, target_ids: Tensor) -> Tensor:
        with self.encoder.arithmetic():
            if self.method == PIXELS:
                found = pixel_targets(pixels, target_ids, self.target.patch_size)
            else:
                found = take(as_targets(self.target(pixels)), target_ids)
        return found[:, 0].float()


def first_weights(energies: Energies, seed: int = 0) -> Energies:
    """The energies of networks of the same shape that were not trained: what training has to be better than."""
    encoder = untrained_like(energies.encoder, seed)
    context = seeded(seed, **encoder.vit.arguments())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        predictor = Predictor(**energies.predictor.arguments())
    about = {"settings": {"method": energies.method}}
    networks = encoder.vit, context, predictor
    return Energies(encoder, Source("untrained", "openjepa", encoder.mean, encoder.std, *networks, about=about))


def as_targets(tokens: Tensor) -> Tensor:
    """Tokens [..., D] of the target encoder, or such of any other length, as what a predictor of them foretells."""
    return F.layer_norm(tokens, tokens.shape[-1:])


def everything_but(region: Tensor, grid_size: tuple[int, int]) -> Hidden:
    """The patches of a region [Nt] hidden, and all others seen. Raises UsageError for what is no region of a grid."""
    seen = torch.ones(grid_size[0] * grid_size[1], dtype=torch.bool)
    if not len(region) or len(region) >= len(seen) or not 0 <= int(region.min()) <= int(region.max()):
        raise UsageError(f"a region has 1 to {len(seen) - 1:,} patches, and {len(region):,} were given")
    if int(region.max()) >= len(seen):
        raise UsageError(f"patch {int(region.max()):,} of a region is not one of {len(seen):,}, from 0 on")
    seen[region] = False
    return Hidden(seen.nonzero().squeeze(1), region)


def _method(source: Source, target: PatchEncoder, width: int) -> str:
    """What a predictor of `width` numbers a patch foretells, as the name of a method. Raises UsageError."""
    if "teacher" in source.about:
        raise UsageError(f"the predictor of {source.name} foretells what its teacher says, and it holds none: {GIVE}")
    named = (source.about.get("settings") or {}).get("method")
    representations, pixels = target.embed_dim, patch_pixels(target)
    widths = {PIXELS: pixels, "ijepa": representations, BOTH: representations + pixels}
    if named in widths and widths[named] == width:
        return str(named)
    for method in ("ijepa", PIXELS, BOTH):
        if widths[method] == width:
            return method
    raise UsageError(f"the predictor of {source.name} foretells {width} numbers a patch, of unknown meaning: {GIVE}")


def checkerboards(grid_size: tuple[int, int], draw: int) -> Iterator[Hidden]:
    """Both colours of a checkerboard of blocks, one hidden at a time, so that every patch is foretold once.

    The board is moved from draw to draw; blocks are smaller where the grid is.
    """
    side = max(1, min(BLOCK, min(grid_size) // 2))
    moved = np.random.default_rng([draw, *grid_size]).integers(2 * side, size=2)
    rows, columns = ((np.arange(size) + shift) // side for size, shift in zip(grid_size, moved, strict=True))
    colour = (rows[:, None] + columns[None, :]).ravel() % 2
    for one in (0, 1):
        yield Hidden(torch.from_numpy(np.flatnonzero(colour != one)), torch.from_numpy(np.flatnonzero(colour == one)))


class EnergyMoments:
    """Sums over normal images of the energies [B, N] of every place."""

    def __init__(self) -> None:
        self.count = 0
        self.first = self.second = torch.zeros(0, dtype=torch.float64)

    def add(self, energies: Tensor) -> None:
        x = energies.double()
        first, second = x.sum(dim=0), x.square().sum(dim=0)
        self.first, self.second = (self.first + first, self.second + second) if self.count else (first, second)
        self.count += len(x)

    def mean_and_std(self) -> tuple[Tensor, Tensor]:
        """Of every place [N]; variances are drawn to their mean, which counts as eight images.

        Of one image, places share the variance among them.
        """
        mean = self.first / self.count
        scatter = (self.second - self.count * mean.square()).clamp_min(0)
        shared = scatter.mean() / (self.count - 1) if self.count > 1 else mean.var()
        variance = (scatter + 8 * shared) / (self.count + 7)
        return mean.float(), variance.clamp_min(1e-12).sqrt().float()
