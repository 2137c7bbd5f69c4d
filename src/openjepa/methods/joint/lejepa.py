"""LeJEPA (Balestriero and LeCun 2025, arXiv 2511.08544): views agree, and all embeddings are one isotropic Gaussian."""

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openjepa.methods.base import Inputs
from openjepa.methods.joint.base import JointMethod, all_views, full_precision
from openjepa.methods.joint.heads import HIDDEN, mlp
from openjepa.methods.joint.processes import gathered
from openjepa.models.protocol import PatchEncoder

WIDTH, DIRECTIONS = 128, 256  # the paper has up to 1,024 directions, which a CPU is slow at
WEIGHT, LARGEST, POINTS = 0.05, 3.0, 17  # of the Gaussian term, and where it is integrated


def epps_pulley(samples: Tensor) -> Tensor:
    """How far [..., B, S], S samples of B numbers each, are from a standard normal distribution: [..., S].

    B times the integral, from -3 to 3, of |characteristic function - that of the normal|^2 exp(-t^2 / 2) (Epps and
    Pulley 1983). It is even in t, so twice the half is taken, by the trapezoidal rule at 17 points.
    """
    t = torch.linspace(0, LARGEST, POINTS, dtype=samples.dtype, device=samples.device)
    normal = (-t.square() / 2).exp()
    angles = samples.unsqueeze(-1) * t
    error = (angles.cos().mean(dim=-3) - normal).square() + angles.sin().mean(dim=-3).square()
    return 2 * samples.shape[-2] * torch.trapezoid(error * normal, t, dim=-1)


def lejepa(projected: Tensor, views: int, directions: Tensor) -> Tensor:
    """The distance of each projection from the mean of the first `views`, and how far all are from a Gaussian.

    projected [V, B, P]; directions [P, S] of unit length, along which the distribution is compared.
    """
    agreement = (projected - projected[:views].mean(dim=0)).square().mean()
    return WEIGHT * epps_pulley(projected @ directions).mean() + (1 - WEIGHT) * agreement


class LeJEPA(JointMethod):
    """Regularised: an isotropic Gaussian has no direction without variance, so no teacher or stop-gradient is needed.

    The directions are other ones in each step, a function of the number of steps taken.
    """

    directions: Tensor
    default_views: ClassVar[str] = "multicrop"
    takes_small_views: ClassVar[bool] = True

    def __init__(self, context_encoder: PatchEncoder, projector: nn.Module) -> None:
        super().__init__(context_encoder, projector)
        self.steps = 0
        self.register_buffer("directions", self._drawn(), persistent=False)

    @classmethod
    def head(cls, width: int) -> nn.Module:
        return mlp(width, HIDDEN * width, HIDDEN * width, WIDTH)

    def loss(self, inputs: Inputs) -> Tensor:
        projected = gathered(all_views(self.context_encoder, self.projector, inputs))
        with full_precision(projected):
            return lejepa(projected, len(inputs.views), self.directions)

    def after_step(self, schedule: Mapping[str, float]) -> None:
        self.set_extra_state(torch.tensor(self.steps + 1))

    def get_extra_state(self) -> Tensor:
        """What `state_dict` has of it beside tensors: the number of steps taken, int64 []."""
        return torch.tensor(self.steps)

    def set_extra_state(self, state: Tensor) -> None:
        self.steps = int(state)
        self.directions.copy_(self._drawn())

    def _drawn(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.steps)
        return F.normalize(torch.randn(WIDTH, DIRECTIONS, generator=generator), dim=0)
