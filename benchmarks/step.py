"""Images a second, share of the matrix peak and memory of a full step (device batch to EMA), beside lightly's I-JEPA.

python benchmarks/step.py                     ViT-S/8 and ViT-Ti/8, 96 px, batch 64: results/step-cpu.json
python benchmarks/step.py --device cuda --models vit_base --image-size 224 --patch-size 16 --batch-size 256 \
    --predictor 384 6 12

Needs `pip install lightly timm`. Both train the same architecture on the same images, context and target ids (drawn by
lightly's collator at the paper's settings) with the AdamW of lightly's example. The contenders take turns: a round is a
few steps of each, and every ratio is the median of the rounds' own.
"""

import argparse
import copy
import multiprocessing
import re
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import lightly
import timm
import torch
import torch.nn.functional as F
from lightly.data.ijepa_collate import IJEPAMaskCollator
from lightly.models.modules import IJEPAPredictorTIMM, MaskedVisionTransformerTIMM
from lightly.models.utils import apply_masks
from plain import PLAIN
from record import record

from openjepa.config import build_config
from openjepa.data.batches import Batch
from openjepa.data.crops import standardise
from openjepa.device import PRECISIONS, choose_precision
from openjepa.masking.settings import Masks
from openjepa.models.vit import SIZES
from openjepa.runs.planning.build import build_stepper
from openjepa.training.step import Stepper
from openjepa.training.timing import matrix_peak, step_flops, synchronise

LR, MEAN, STD, DRAWS = 1.5e-4, [0.5] * 3, [0.25] * 3, 4
LIGHTLY = {"lightly float32": torch.float32, "lightly bf16": torch.bfloat16}
OURS = {"openjepa separate": {"target_sequences": "separate"}, "openjepa joint": {"target_sequences": "joint"}}


@dataclass(frozen=True)
class Setting:
    model: str
    image_size: int
    patch_size: int
    batch_size: int
    predictor: tuple[int, int, int]
    device: str
    precision: str

    def batches(self) -> list[Batch]:
        """Uint8 images and lightly's ids on the device."""
        torch.manual_seed(0)
        blocks = {"enc_mask_scale": (0.85, 1.0), "pred_mask_scale": (0.15, 0.2), "aspect_ratio": (0.75, 1.5)}
        collate = IJEPAMaskCollator(self.image_size, self.patch_size, nenc=1, npred=4, min_keep=10, **blocks)
        shape, found = (self.batch_size, 3, self.image_size, self.image_size), []
        for _ in range(DRAWS):
            _, context, targets = collate([0] * self.batch_size)
            images = torch.randint(0, 256, shape, dtype=torch.uint8).to(self.device)
            masks = Masks(context[0].to(self.device), torch.stack(targets, dim=1).to(self.device))
            found.append(Batch(images[None], masks, torch.arange(self.batch_size)))
        return found


class Lightly(torch.nn.Module):
    """Lightly's modules put together as its example does it."""

    def __init__(self, setting: Setting, dtype: torch.dtype) -> None:
        super().__init__()
        dim, depth, heads, _ = SIZES[setting.model]
        plain = {"class_token": False, "global_pool": "", "num_classes": 0}
        sizes = {"img_size": setting.image_size, "patch_size": setting.patch_size}
        vit = timm.models.VisionTransformer(embed_dim=dim, depth=depth, num_heads=heads, **sizes, **plain)
        width, layers, narrow_heads = setting.predictor
        self.encoder = MaskedVisionTransformerTIMM(vit)
        self.predictor = IJEPAPredictorTIMM(vit.patch_embed.num_patches, layers, dim, width, narrow_heads)
        self.target_encoder, self.dtype = copy.deepcopy(self.encoder), dtype
        self.to(setting.device)
        self.optimizer = torch.optim.AdamW(self.parameters(), lr=LR)

    def step(self, images: torch.Tensor, masks: Masks) -> None:
        with torch.autocast(images.device.type, self.dtype, enabled=self.dtype != torch.float32):
            targets = list(masks.target_ids.unbind(1))
            predicted = self.predictor(
                self.encoder.encode(images, idx_keep=masks.context_ids), [masks.context_ids], targets
            )
            with torch.no_grad():
                tokens = self.target_encoder.encode(images)
                wanted = apply_masks(F.layer_norm(tokens, tokens.shape[-1:]), targets)
            loss = F.smooth_l1_loss(predicted, wanted)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            for theirs, ema in zip(self.encoder.parameters(), self.target_encoder.parameters(), strict=True):
                ema.data.mul_(0.996).add_(0.004 * theirs.detach().data)


def our_stepper(setting: Setting, changes: dict) -> Stepper:
    dim, depth, heads = setting.predictor
    given = {"model": setting.model, "image_size": setting.image_size, "patch_size": setting.patch_size}
    given |= {
        "predictor_dim": dim,
        "predictor_depth": depth,
        "predictor_heads": heads,
        "batch_size": setting.batch_size,
    }
    given |= {"device": setting.device, "precision": setting.precision, "optimizer": "adamw", "lr": LR, "steps": 10**6}
    return build_stepper(build_config(PLAIN, given | changes), 10**6, MEAN, STD)


def contender(setting: Setting, name: str, batches: list[Batch]):
    """A function of the step number that takes one step."""
    if name in OURS:
        stepper = our_stepper(setting, OURS[name])
        return lambda step: stepper(step, batches[step % DRAWS])
    model = Lightly(setting, LIGHTLY[name])
    inputs = [(standardise(batch.images, MEAN, STD), batch.masks) for batch in batches]
    return lambda step: model.step(*inputs[step % DRAWS])


def peak_memory(setting: Setting, name: str, threads: int) -> int:
    """Bytes that the steps of a contender need at most, over what the process held before; run in one of its own."""
    torch.set_num_threads(threads)
    batches, before = setting.batches(), most_held()
    step = contender(setting, name, batches)
    for i in range(DRAWS):
        step(i)
    if torch.device(setting.device).type == "cuda":
        return torch.cuda.max_memory_allocated()
    return most_held() - before


def most_held() -> int:
    """Bytes that this process has held at most; not `ru_maxrss`, which begins at what its parent held."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])


def apart(setting: Setting, name: str) -> int:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(peak_memory, setting, name, torch.get_num_threads()).result()


def race(setting: Setting, names: list[str], rounds: int, steps: int) -> dict[str, list[float]]:
    """Images a second of every contender in every round."""
    batches, device = setting.batches(), torch.device(setting.device)
    runners, rates = {name: contender(setting, name, batches) for name in names}, {name: [] for name in names}
    for turn in range(rounds + 1):  # the first only warms up
        for name, run in runners.items():
            begun = time.perf_counter()
            for i in range(turn * steps, turn * steps + steps):
                run(i)
            synchronise(device)
            rates[name].append(steps * setting.batch_size / (time.perf_counter() - begun))
    return {name: found[1:] for name, found in rates.items()}


def measure(setting: Setting, names: list[str], rounds: int, steps: int) -> list[dict]:
    device, batches = torch.device(setting.device), setting.batches()
    rates, rows = race(setting, names, rounds, steps), []
    for name in names:
        dtype = LIGHTLY.get(name) or choose_precision(setting.precision, device)
        flops = [step_flops(our_stepper(setting, OURS.get(name, OURS["openjepa separate"])), b) for b in batches]
        rate, peak = statistics.median(rates[name]), matrix_peak(device, dtype)
        row = {"model": setting.model, "name": name, "precision": str(dtype).removeprefix("torch.")}
        row |= {"images_per_second": rate, "rates": rates[name], "memory": apart(setting, name)}
        row |= {"matrix_peak": peak, "fraction_of_peak": statistics.fmean(flops) * rate / setting.batch_size / peak}
        for rival in LIGHTLY.keys() & rates.keys():
            pairs = zip(rates[name], rates[rival], strict=True)
            row[f"times {rival}"] = statistics.median(ours / theirs for ours, theirs in pairs)
        rows.append(row)
    return rows


def show(rows: list[dict]) -> None:
    rivals = sorted(key for key in rows[0] if key.startswith("times "))
    print(f"{'':32} {'images/s':>9} {'of peak':>8} {'GiB':>6} " + " ".join(f"{rival:>22}" for rival in rivals))
    for row in rows:
        label = f"{row['model']} {row['name']}" + (f" {row['precision']}" if row["name"] in OURS else "")
        numbers = f"{row['images_per_second']:9.1f} {row['fraction_of_peak']:8.1%} {row['memory'] / 2**30:6.2f} "
        print(f"{label:32} {numbers}" + " ".join(f"{row[rival]:22.2f}" for rival in rivals))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["vit_small", "vit_tiny"], choices=SIZES)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--patch-size", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--predictor", type=int, nargs=3, default=(192, 6, 6), metavar=("DIM", "DEPTH", "HEADS"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto", choices=["auto", *PRECISIONS], help="of openjepa")
    parser.add_argument("--only", nargs="+", default=[*LIGHTLY, *OURS], choices=[*LIGHTLY, *OURS], help="contenders")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="a round")
    given = parser.parse_args()
    sizes = (given.image_size, given.patch_size, given.batch_size, tuple(given.predictor), given.device)
    settings = [Setting(model, *sizes, given.precision) for model in given.models]
    rows = [row for setting in settings for row in measure(setting, given.only, given.rounds, given.steps)]
    show(rows)
    record(f"step-{given.device}", lightly=lightly.__version__, sizes=sizes, rows=rows)


if __name__ == "__main__":
    main()
