"""What is tried in a process of its own: imports, devices, a training step, decoding. Each answers one question.

A question is the name of a probe and, after a space, what to try. Libraries are imported where they are asked about.
"""

import io
import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from openjepa.safety.processes import end_with_parent, first_line


def answer_all(questions: list[str]) -> None:
    """Write a line of JSON with the answer to each question; what libraries print goes to stderr."""
    end_with_parent()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for question in questions:
        answers.write(json.dumps({"question": question} | _answered(question)) + "\n")
    os._exit(0)  # what libraries do at their end is not asked for


def _answered(question: str) -> dict[str, Any]:
    name, _, what = question.partition(" ")
    try:
        return {"value": PROBES[name](what)}
    except (Exception, SystemExit) as error:
        return {"problem": f"{type(error).__name__}: {first_line(error)}"}


def imported(module: str) -> str:
    import_module(module)
    return getattr(sys.modules[module], "__version__", "")


def pytorch(_: str) -> dict[str, Any]:
    """How PyTorch was built, and what openjepa may use of the processor and the memory."""
    import torch

    from openjepa.device import cores, memory_of

    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda or torch.version.hip or "",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cores": cores(),
        "memory": memory_of(torch.device("cpu")),
    }


def devices(_: str) -> list[dict[str, Any]]:
    """The devices with the precision that `auto` is; the first is the one that `auto` is."""
    import torch

    from openjepa.device import choose_device, choose_precision, memory_of

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = [*(f"cuda:{number}" for number in range(count)), "mps" * torch.backends.mps.is_available(), "cpu"]
    found = []
    for device in map(choose_device, filter(None, names)):
        about = {"model": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
        precision = str(choose_precision("auto", device)).removeprefix("torch.")
        found.append({"name": str(device), "precision": precision, "memory": memory_of(device)} | about)
    return found


def trained(kind: str) -> dict[str, Any] | None:
    """A step of I-JEPA on random pixels; None where there is no such device."""
    import torch

    from openjepa.device import choose_device, choose_precision
    from openjepa.errors import UsageError

    try:
        device = choose_device(kind)
    except UsageError:
        return None
    precision = choose_precision("auto", device)
    loss, norm = _step(device, precision)
    if not bool(torch.isfinite(loss + norm)):
        raise ArithmeticError(f"the loss is {loss.item()} and the norm of the gradients {norm.item()}")
    return {"loss": loss.item(), "precision": str(precision).removeprefix("torch.")}


def _step(device: Any, precision: Any) -> tuple[Any, Any]:
    import torch

    from openjepa.data.batches import Batch
    from openjepa.masking.samplers import sample_masks
    from openjepa.masking.settings import MaskSettings
    from openjepa.methods.ijepa import IJEPA
    from openjepa.models.predictor import Predictor
    from openjepa.models.vit import VisionTransformer
    from openjepa.training.optimizer import loss_scaler, make_optimizer
    from openjepa.training.step import Schedule, Stepper

    torch.manual_seed(0)
    encoder = VisionTransformer((48, 48), 8, embed_dim=64, depth=2, num_heads=2)
    model = IJEPA(encoder, Predictor((6, 6), 64, 32, 1, 2, joint=True)).to(device)
    optimizer = make_optimizer(model.learning_modules(), "muon", precision=precision)
    scaled = loss_scaler(precision, device)
    schedule = Schedule(steps=10, lr=1e-3)
    stepper = Stepper(model, optimizer, schedule, [0.5] * 3, [0.25] * 3, device, precision, scaler=scaled)
    pixels = torch.randint(0, 256, (1, 16, 3, 48, 48), dtype=torch.uint8)
    return stepper(0, Batch(pixels, sample_masks(MaskSettings((6, 6)), 16, seed=0, step=0), torch.arange(16)))


def decoded(kind: str) -> str:
    """A picture written to memory as a JPEG or PNG, and read as training reads it."""
    import numpy as np
    from PIL import Image

    from openjepa.data.decoding.read import read_pixels

    colour, stream = (200, 90, 30), io.BytesIO()
    Image.new("RGB", (24, 16), colour).save(stream, kind)
    pixels = np.asarray(read_pixels(stream), np.int64)
    if pixels.shape != (16, 24, 3) or abs(pixels - colour).max() > 8:
        raise ValueError(f"the pixels are wrong: {pixels.shape}, {pixels.reshape(-1, 3)[0].tolist()}")
    return "24 x 16 pixels"


PROBES: dict[str, Callable[[str], Any]] = {
    "import": imported,
    "pytorch": pytorch,
    "devices": devices,
    "train": trained,
    "decode": decoded,
}
