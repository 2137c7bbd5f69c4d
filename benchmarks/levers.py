"""What makes a step fast, lever by lever: milliseconds without it and with it, and where a step's time goes.

python benchmarks/levers.py             ViT-Ti/8, 96 px, batch 64, on the CPU: results/levers-cpu.json
python benchmarks/levers.py --device cuda --model vit_base --image-size 224 --patch-size 16 --batch-size 256

Both ways of a lever take turns; the gain is the median of the turns' own ratios. A lever is measured where it works: a
pass, an update, or a whole step.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from operator import add
from unittest.mock import patch

import torch
import torch.nn.functional as F
from plain import PLAIN
from record import record

from openjepa.config import build_config
from openjepa.data.batches import Batch
from openjepa.masking.samplers import sample_masks
from openjepa.models import vit
from openjepa.runs.images import mask_settings
from openjepa.runs.planning.build import build_stepper
from openjepa.training.compile import no_compiler
from openjepa.training.step import Stepper
from openjepa.training.timing import matrix_peak, step_flops, synchronise

LONG, DRAWS = 10**6, 4
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
Call = Callable[[], object]


class Bench:
    """One step's settings, networks and batch."""

    def __init__(self, given: argparse.Namespace) -> None:
        names = ("model", "image_size", "patch_size", "batch_size", "device")
        self.settings = {name: getattr(given, name) for name in names} | {"steps": LONG, "optimizer": "adamw"}
        self.settings |= {"predictor_dim": 192, "predictor_depth": 6, "predictor_heads": 6}
        self.stepper = self.build()
        self.batch = self.sample(given.batch_size)

    def build(self, **changes) -> Stepper:
        return build_stepper(build_config(PLAIN, self.settings | changes), LONG, [0.5] * 3, [0.25] * 3)

    def sample(self, size: int, draws: int = 1) -> Batch:
        config = build_config(PLAIN, self.settings | {"masks_per_image": draws, "batch_size": size})
        images = torch.randint(0, 256, (size, 3, *config.size), dtype=torch.uint8, device=self.stepper.device)
        return Batch(images[None], sample_masks(mask_settings(config), size * draws, 0, 0), torch.arange(size))

    def step(self, batch: Batch | None = None, **changes) -> Call:
        """A whole step, of networks of its own."""
        stepper, batch = self.build(**changes), batch or self.batch
        return lambda: stepper(0, batch)

    def levers(self) -> dict[str, tuple[Call, Call]]:
        """By name, the two ways to do one thing."""
        model, images = self.stepper.model, self.stepper.prepare(self.batch).images
        quarter = self.sample(self.settings["batch_size"] // DRAWS, DRAWS)
        return {
            **{
                f"attention in training, {kind}, {n} tokens: explicit": self.attention(n, True, dtype)
                for kind, dtype in DTYPES.items()
                for n in (16, 64, 144)
            },
            **{
                f"attention without gradients, {kind}, {n} tokens: fused": self.attention(n, False, dtype)
                for kind, dtype in DTYPES.items()
                for n in (64, 144)
            },
            "patch embedding of visible patches only": self.embedding(model.context_encoder, images),
            "AdamW: fused": self.adamw(),
            "EMA: one foreach": self.ema(),
            "target encoder: a bf16 copy of its weights": self.halved(images),
            "step: bias and GELU inside of products without gradients": self.without(
                ("models.cpu_bf16.there",), lambda: False
            ),
            "step: tokens added up in bf16": self.without(
                ("models.vit.add_positions", "models.predictor.add_positions"), add
            ),
            "step: predictor's blocks in one sequence": (
                self.step(target_sequences="separate"),
                self.step(target_sequences="joint"),
            ),
            f"step: {DRAWS} draws of masks for a quarter of the images": (self.step(), self.step(quarter)),
            "step: activations kept, not computed again": (self.step(checkpoint_activations=True), self.step()),
            **self.compiled(),
        }

    def attention(self, tokens: int, training: bool, dtype: torch.dtype) -> tuple[Call, Call]:
        """Without gradients fused is the lever, in training the explicit products."""
        heads = self.stepper.model.context_encoder.blocks[0].attn.num_heads
        width = self.stepper.model.context_encoder.embed_dim // heads
        shape, device = (self.settings["batch_size"], heads, tokens, width), self.stepper.device
        q, k, v = (torch.randn(shape, device=device, dtype=dtype, requires_grad=training) for _ in range(3))

        def explicit() -> torch.Tensor:
            return ((q * width**-0.5) @ k.transpose(-2, -1)).softmax(dim=-1) @ v

        def fused() -> torch.Tensor:
            return F.scaled_dot_product_attention(q, k, v)

        def both(attend: Callable[[], torch.Tensor]) -> Call:
            return lambda: attend().sum().backward() if training else attend()

        return (both(fused), both(explicit)) if training else (both(explicit), both(fused))

    def embedding(self, encoder: vit.VisionTransformer, images: torch.Tensor) -> tuple[Call, Call]:
        ids = self.batch.masks.context_ids.to(images.device)
        pixels = vit.patchify(images, encoder.patch_size)

        def whole() -> None:
            vit.take(encoder.patch_embed(pixels), ids).sum().backward()

        def visible() -> None:
            encoder.patch_embed(vit.take(pixels, ids)).sum().backward()

        return whole, visible

    def adamw(self) -> tuple[Call, Call]:
        def update(**how: bool) -> Call:
            weights = copy.deepcopy(self.stepper.model.context_encoder)
            for p in weights.parameters():
                p.grad = torch.ones_like(p)
            return torch.optim.AdamW(weights.parameters(), lr=1e-4, **how).step

        return update(foreach=False), update(fused=True)

    def ema(self) -> tuple[Call, Call]:
        model = copy.deepcopy(self.stepper.model)

        @torch.no_grad()
        def loop() -> None:
            pairs = zip(model.target_encoder.parameters(), model.context_encoder.parameters(), strict=True)
            for target, context in pairs:
                target.mul_(0.996).add_(context, alpha=0.004)

        return loop, lambda: model.update_target_encoder(0.996)

    def halved(self, images: torch.Tensor) -> tuple[Call, Call]:
        """Autocast casts the target encoder's weights anew in every step; a copy in bf16 would be cast already."""
        whole = self.stepper.model.target_encoder
        copied = copy.deepcopy(whole).bfloat16()

        @torch.no_grad()
        def autocast() -> None:
            with torch.autocast(images.device.type, torch.bfloat16):
                whole(images)

        @torch.no_grad()
        def cast() -> None:
            copied(images.bfloat16())

        return autocast, cast

    def without(self, names: tuple[str, ...], instead: Callable) -> tuple[Call, Call]:
        """A step in which some functions of `models` are replaced, and as it is."""

        step = self.step()

        def replaced() -> None:
            with ExitStack() as stack:
                for name in names:
                    stack.enter_context(patch(f"openjepa.models.{name}", instead))
                step()

        return replaced, self.step()

    def compiled(self) -> dict[str, tuple[Call, Call]]:
        if no_compiler(self.stepper.device):
            return {}
        return {"step: blocks through torch.compile": (self.step(), self.step(compile=True))}

    def parts(self) -> dict[str, Call]:
        """What a step does, one after the other; backward is what the whole has over these."""
        stepper, inputs = self.stepper, self.stepper.prepare(self.batch)
        model, device = stepper.model, stepper.device

        def forward(call: Callable[[], torch.Tensor]) -> None:
            with stepper.autocast():
                call()

        context = model.context_encoder(inputs.images, inputs.context_ids).detach()
        return {
            "images to the device, standardised": lambda: stepper.prepare(self.batch),
            "target encoder": lambda: forward(lambda: model.targets(inputs.images, inputs.target_ids)),
            "context encoder, forward": lambda: forward(
                lambda: model.context_encoder(inputs.images, inputs.context_ids)
            ),
            "predictor, forward": lambda: forward(lambda: model.predictor(context, *inputs.masks)),
            "loss, all forward and backward": lambda: stepper.gradients(self.batch),
            "the whole step": lambda: (stepper(0, self.batch), synchronise(device)),
        }


def milliseconds(call: Call, device: torch.device, least: float = 0.2) -> float:
    """Of one call, over at least `least` seconds of calls."""
    begun, count = time.perf_counter(), 0
    while not count or time.perf_counter() - begun < least:
        call()
        synchronise(device)
        count += 1
    return 1000 * (time.perf_counter() - begun) / count


def compare(pair: tuple[Call, Call], device: torch.device, rounds: int) -> dict[str, float]:
    for call in pair:
        call()
    turns = [[milliseconds(call, device) for call in pair] for _ in range(rounds)]
    without, with_it = (statistics.median(times) for times in zip(*turns, strict=True))
    return {"without_ms": without, "with_ms": with_it, "gain": statistics.median(a / b for a, b in turns)}


def floors(bench: Bench) -> dict[str, float]:
    """Milliseconds that arithmetic alone, and the traffic of weights alone, would take at the rates measured here.

    Traffic: gradients are written and read, weights and both moments of AdamW read and written, the EMA reads both
    encoders and writes one.
    """
    stepper, source = bench.stepper, torch.ones(2**26)
    model, peak = stepper.model, matrix_peak(stepper.device, stepper.precision)
    source = source.to(stepper.device)
    copied = milliseconds(lambda: source.clone(), stepper.device, 1.0)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    encoder = sum(p.numel() for p in model.target_encoder.parameters())
    return {
        "arithmetic_ms": 1000 * step_flops(stepper, bench.batch) / peak,
        "weights_ms": copied * (4 * (8 * trained + 3 * encoder)) / (8 * source.numel()),
        "peak": peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_tiny", choices=vit.SIZES)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--patch-size", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    bench = Bench(given := parser.parse_args())
    device, found = bench.stepper.device, {}
    for name, pair in bench.levers().items():
        found[name] = compare(pair, device, given.rounds)
        print("{:58} {without_ms:8.1f} {with_ms:8.1f} ms {gain:6.2f}x".format(name, **found[name]), flush=True)
    parts = {name: milliseconds(call, device, 2.0) for name, call in bench.parts().items()}
    about = {"precision": str(bench.stepper.precision), **floors(bench)}
    for name, spent in parts.items():
        print(f"{name:40} {spent:8.1f} ms {spent / parts['the whole step']:6.1%}")
    print("floors: arithmetic {arithmetic_ms:.1f} ms, weights' traffic {weights_ms:.1f} ms".format(**about))
    record(f"levers-{device.type}", settings=bench.settings, **about, levers=found, parts=parts)


if __name__ == "__main__":
    main()
