"""How fast the matrix products of a device are, and how much of that a step needs."""

import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from openjepa.data.batches import Batch
from openjepa.training.steps import Stepper

SIDES = {"cuda": 8192}  # of a product large enough to reach the peak; 2048 elsewhere


def matrix_peak(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    """The most floating-point operations a second that square matrix products reach, measured."""
    side = SIDES.get(device.type, 2048)
    a, spans = torch.ones(side, side, dtype=dtype, device=device), []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        a @ a
        synchronise(device)
        spans.append(time.perf_counter() - begun)
    return 2 * side**3 / min(spans)


def step_flops(stepper: Stepper, batch: Batch) -> int:
    """Floating-point operations in the products of a step, forward and backward, without the optimizer's."""
    inputs = stepper.prepare(batch)
    with FlopCounterMode(display=False) as counter:
        with stepper.autocast():
            loss = stepper.model(*inputs)
        loss.backward()
    stepper.optimizer.zero_grad(set_to_none=True)
    return counter.get_total_flops()


def synchronise(device: torch.device) -> None:
    """Wait for what the device was asked to do."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
