"""Muon (Jordan et al. 2024): updates are orthogonalised momenta, so that every direction moves equally far."""

from typing import Any

import torch
from torch import Tensor

from openjepa.training.distributed import part_like, whole

# Newton-Schulz iteration x -> a x + b x^3 + c x^5 of the singular values, with Jordan et al.'s coefficients.
COEFFICIENTS, ITERATIONS = (3.4445, -4.775, 2.0315), 5
# Iterations on one Gram matrix, by the precision of the products: rounding errors of a 16-bit Gram matrix grow
# twelvefold in every iteration, so a new one is computed after three (docs/development/lab-log.md, 20).
IN_TURN = {torch.float32: (ITERATIONS,), **dict.fromkeys((torch.bfloat16, torch.float16), (3, ITERATIONS - 3))}
MOMENTUM = 0.95
RATIO = 5  # of a matrix's step to AdamW's at the same lr (docs/recipes.md)


class Muon(torch.optim.AdamW):
    """Muon for the groups with `"orthogonal": True`, which hold matrices; AdamW for the others.

    A direction is scaled to the size of a usual AdamW update (Liu et al. 2025, arXiv 2502.16982, section 2.2) and the
    learning rate of matrices is five times that of the rest, so that one `lr` serves both. torch's own Muon computes in
    bf16 on every device, and one matrix at a time; here `precision` is that of the run. A sharded
    matrix is gathered first, because its direction is a property of the whole.
    """

    def __init__(self, groups: list[dict], precision: torch.dtype = torch.float32, **settings) -> None:
        super().__init__(groups, **settings)
        self.precision = precision
        # A loss scaler skips a step by not calling it, because only AdamW's own part could skip by itself.
        self._step_supports_amp_scaling = False

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            if group["orthogonal"]:
                self._step_matrices(group)
        return super().step(closure)

    def _step_matrices(self, group: dict) -> None:
        alike: dict[torch.Size, list[Tensor]] = {}
        for parameter in (p for p in group["params"] if p.grad is not None):
            alike.setdefault(parameter.shape, []).append(parameter)
        for shape, matrices in alike.items():
            directions = torch.stack([whole(direction) for direction in self._nesterov(matrices)])
            updates = orthogonal(directions, self.precision)
            rate = RATIO * group["lr"]
            torch._foreach_mul_(matrices, 1 - rate * group["weight_decay"])
            parts = [part_like(update, matrix) for update, matrix in zip(updates, matrices, strict=True)]
            torch._foreach_add_(matrices, parts, alpha=-rate * 0.2 * max(shape) ** 0.5)

    def _nesterov(self, matrices: list[Tensor]) -> list[Tensor]:
        """The directions of matrices; their gradients are removed, so that AdamW leaves the matrices alone."""
        momenta = [self._momentum(matrix) for matrix in matrices]
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        for matrix in matrices:
            matrix.grad = None
        return list(torch._foreach_lerp(gradients, momenta, MOMENTUM))

    def _momentum(self, matrix: Tensor) -> Tensor:
        state = self.state[matrix]
        if not state:  # AdamW.load_state_dict expects a step in the state of every parameter
            state.update(step=torch.zeros(()), momentum=torch.zeros_like(matrix))
        return state["momentum"]


def orthogonal(matrices: Tensor, precision: torch.dtype = torch.float32) -> Tensor:
    """Matrices [k, m, n] with their singular values brought near 1 (about 0.7 to 1.2), by Newton-Schulz iterations.

    Products are computed in float32, bfloat16 or float16; the result has the dtype of `matrices`.
    """
    x = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(precision)
    for iterations in IN_TURN[precision]:
        x = iterated(x, iterations)
    return (x if x.shape == matrices.shape else x.mT).to(matrices.dtype)


def iterated(x: Tensor, iterations: int) -> Tensor:
    """x [k, m, n], m <= n, after `iterations` iterations.

    Every iteration multiplies by a polynomial of the Gram matrix. These commute, so the iterations are done on the
    m x m Gram matrix alone, and their product is applied once: half the cost for matrices with n = 4 m.
    """
    gram = x @ x.mT
    product = factor = polynomial(gram)
    for _ in range(iterations - 1):
        gram = factor @ gram @ factor
        factor = polynomial(gram)
        product = factor @ product
    return product @ x


def polynomial(gram: Tensor) -> Tensor:
    """a + b G + c G^2 for Gram matrices G [k, m, m], the factor of one iteration."""
    a, b, c = COEFFICIENTS
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor
