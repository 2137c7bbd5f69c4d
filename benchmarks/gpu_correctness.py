"""Part 1 of gpu.py: the published code's values, exact resume, gradients of DDP and FSDP2, and no synchronisation."""

import copy
import dataclasses
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts; deterministic products need it

import torch
import torch.distributed as dist
from gpu_rows import Rows, about, arguments, drawn
from plain import PLAIN
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

import openjepa
from openjepa.config import build_config
from openjepa.data.batches import Batch
from openjepa.masking.samplers import sample_masks
from openjepa.masking.settings import MaskSettings
from openjepa.methods.base import Inputs
from openjepa.methods.ijepa import IJEPA
from openjepa.models.predictor import Predictor
from openjepa.models.vit import VisionTransformer
from openjepa.runs.planning.build import build_stepper
from openjepa.training.distributed import shard, whole
from openjepa.training.graphs import capture
from openjepa.training.optimizer import make_optimizer, set_schedule
from openjepa.training.schedules import ema_momentum, learning_rate, weight_decay
from openjepa.training.step import Stepper

TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 5e-2}  # of |ours - theirs| / |theirs|
LOSS_TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 5e-2}


def published_model(parity: Path, device: torch.device) -> IJEPA:
    """The published code's tiny networks in ours."""
    states = torch.load(parity / "official_tiny.pth.tar", weights_only=True, map_location=device)
    model = IJEPA(
        VisionTransformer((64, 64), 8, embed_dim=48, depth=3, num_heads=4),
        Predictor((8, 8), 48, dim=24, depth=2, num_heads=4),
    ).to(device)
    parts = {"encoder": model.context_encoder, "target_encoder": model.target_encoder, "predictor": model.predictor}
    for name, network in parts.items():
        state = {key.removeprefix("module.").removeprefix("predictor_"): t for key, t in states[name].items()}
        network.load_state_dict({key: t for key, t in state.items() if key != "pos_embed"})
    return model


def distance(ours: Tensor, theirs: Tensor) -> float:
    """|ours - theirs| / |theirs|."""
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


def parity(folder: Path, device: torch.device, dtype: torch.dtype) -> dict:
    """Outputs, gradients and the losses of twelve steps beside the published code's (shared parity files)."""
    io = {name: t.to(device) for name, t in load_file(folder / "official_tiny_io.safetensors").items()}
    reference = json.loads((folder / "official_tiny_trajectory.json").read_text())
    model = published_model(folder, device)
    images, context_ids, target_ids = (io[name][0] for name in ("images", "context_ids", "target_ids"))
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        found = {
            "targets": distance(model.targets(images, target_ids), io["targets"]),
            "predicted": distance(model.predict(images, context_ids, target_ids), io["predictor_output"]),
        }
        model(Inputs(images[None], context_ids, target_ids)).backward()
    found["gradient"] = distance(model.context_encoder.patch_embed.proj.weight.grad, io["grad_patch_embed"])
    losses = trained_losses(model, io, reference["config"], device, dtype)
    found["loss"] = max(abs(a / b - 1) for a, b in zip(losses, reference["trajectory"]["loss"], strict=True))
    outputs = max(found["targets"], found["predicted"], found["gradient"])
    return found | {"holds": outputs < TOLERANCES[dtype] and found["loss"] < LOSS_TOLERANCES[dtype]}


def trained_losses(
    model: IJEPA, io: dict[str, Tensor], config: dict, device: torch.device, dtype: torch.dtype
) -> list[float]:
    """The losses of the reference's steps, taken by our optimizer and schedules."""
    steps, losses = config["total_steps"], []
    optimizer = make_optimizer(model.learning_modules())
    for step in range(steps):
        rates = config["warmup_steps"], config["start_lr"], config["lr"], config["final_lr"]
        decay = weight_decay(step, steps, config["weight_decay"], config["final_weight_decay"])
        set_schedule(optimizer, learning_rate(step, steps, *rates), decay)
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss = model(Inputs(io["images"][step][None], io["context_ids"][step], io["target_ids"][step]))
        loss.backward()
        optimizer.step()
        model.update_target_encoder(ema_momentum(step, steps, *config["ema"]))
        losses.append(float(loss.detach()))
    return losses


def resumed(device: torch.device, precision: str, tiny: bool) -> dict:
    """Whether six steps are three and, taken up from a checkpoint, three more, to the bit."""
    settings = {"image_size": 32, "batch_size": 32, "steps": 6, "keep_every": 3, "workers": 0, "log_every": 1}
    settings |= {"image_size": 16, "batch_size": 4, "labels": False} if tiny else {}
    settings |= {"recipe": "laptop", "device": str(device), "precision": precision, "deterministic": True}
    with tempfile.TemporaryDirectory() as folder:
        data, whole_run, parts = drawn(Path(folder, "images")), Path(folder, "whole"), Path(folder, "parts")
        openjepa.pretrain(data, out=whole_run, **settings)
        shutil.copytree(whole_run, parts)
        for path in (parts / "checkpoints/step-00000006", parts / "encoder"):
            shutil.rmtree(path)
        openjepa.pretrain(data, out=parts, resume=True, device=str(device))
        a, b = (load_file(run / "checkpoints/step-00000006/state.safetensors") for run in (whole_run, parts))
    different = [name for name in a if not torch.equal(a[name], b[name])]
    return {"tensors": len(a), "different": len(different), "holds": not different, "first": different[:3]}


def small_step(device: torch.device, **changes: object) -> tuple[Stepper, Batch]:
    """A step of ViT-S/16 at 128 px (of ViT nano at 64 px on a CPU) with few images, its batch in page-locked memory."""
    model, side = ("vit_nano", 64) if device.type == "cpu" else ("vit_small", 128)
    settings = {"model": model, "image_size": side, "patch_size": 16, "steps": 100, "batch_size": 16}
    torch.manual_seed(0)
    config = build_config(PLAIN, settings | {"device": str(device)} | changes)
    stepper = build_stepper(config, 100, [0.5] * 3, [0.25] * 3)
    images = torch.randint(0, 256, (16, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    masks = sample_masks(MaskSettings((side // 16, side // 16)), 16, 0, 0)
    batch = Batch(images[None], masks, torch.arange(16), total=16)
    return stepper, batch.pin_memory() if device.type == "cuda" else batch


def unsynchronised(device: torch.device) -> dict:
    """Whether a step after the first ones makes the host wait for the device."""
    stepper, batch = small_step(device)
    for step in range(3):
        stepper(step, batch)
    if device.type != "cuda":
        return {"holds": None, "why": "only CUDA can tell"}
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(3, 6):
            stepper(step, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {"holds": True}


def losses_of(device: torch.device, graph: bool = False, **changes: object) -> list[float]:
    """Losses of eight steps, by a CUDA graph or without."""
    stepper, batch = small_step(device, **changes)
    if graph:
        forward = capture(stepper.model, stepper.prepare(batch), stepper.precision)
        stepper = dataclasses.replace(stepper, forward=forward)
    return [float(stepper(step, batch)[0]) for step in range(8)]


def like_plain(device: torch.device, tolerance: float, graph: bool = False, **changes: object) -> dict:
    """Losses of eight steps done in another way, beside those of plain bf16: the largest relative difference."""
    if device.type != "cuda":
        return {"holds": None, "why": "for a GPU"}
    ours, plain = losses_of(device, graph, **changes), losses_of(device, precision="bf16")
    gap = max(abs(a / b - 1) for a, b in zip(ours, plain, strict=True))
    return {"largest": gap, "first": plain[0], "last": plain[-1], "holds": gap < tolerance}


def distributed(device: torch.device, kind: str) -> dict:
    """Largest relative distance of gradients under DDP or FSDP2, in a group of one process, to those without."""
    stepper, batch = small_step(device)
    model, inputs = stepper.model, stepper.prepare(batch)
    other = copy.deepcopy(model)
    model(inputs).backward()
    if kind == "ddp":
        DistributedDataParallel(other)(inputs).backward()
    else:
        shard(other)
        other(inputs).backward()
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    gaps = [distance(whole(b.grad), a.grad) for a, b in pairs if a.grad is not None and a.grad.norm() > 0]
    return {"gradients": len(gaps), "largest": max(gaps), "holds": max(gaps) < 1e-3}


def main(words: list[str] | None = None) -> bool:
    """Run the part with the options `words` (those of the command line); whether something failed."""
    given = arguments(__doc__).parse_args(words)
    rows, device, parity_folder = Rows(given.rows, "correctness"), given.device, given.carry / "parity"
    rows.add("about", **about(device))
    for dtype in (torch.float32, torch.bfloat16):
        name = f"parity {str(dtype).removeprefix('torch.')}"
        if parity_folder.is_dir():
            rows.attempt(name, lambda dtype=dtype: parity(parity_folder, device, dtype))
        else:
            rows.add(name, holds=None, why=f"{parity_folder} is missing")
    rows.attempt("no synchronisation", lambda: unsynchronised(device))
    rows.attempt("cuda graph", lambda: like_plain(device, 1e-3, True, precision="bf16"))
    rows.attempt("float16", lambda: like_plain(device, 2e-2, precision="float16"))
    rows.attempt("float16, cuda graph", lambda: like_plain(device, 2e-2, True, precision="float16"))
    with tempfile.TemporaryDirectory() as folder:
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, init_method=f"file://{folder}/meet", rank=0, world_size=1)
        for kind in ("ddp", "fsdp"):
            rows.attempt(kind, lambda kind=kind: distributed(device, kind))
        dist.destroy_process_group()
    for precision in ("float32",) if given.tiny else ("float32", "bf16", "float16"):
        rows.attempt(f"resume {precision}", lambda precision=precision: resumed(device, precision, given.tiny))
    rows.attempt("compiled, cuda graph", lambda: like_plain(device, 2e-2, True, precision="bf16", compile=True))
    return rows.failed


if __name__ == "__main__":
    sys.exit(main())
