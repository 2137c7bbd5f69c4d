"""The tables of docs/scaling.md: what runs of other sizes come to by arithmetic. Nothing here is measured.

python benchmarks/arithmetic.py
"""

import torch

from openjepa.models.predictor import Predictor
from openjepa.models.vit import SIZES, VisionTransformer

REACHED = 300e12  # operations a second that we reckon with a GPU: 38 % of the 790e12 that products reach on an H200
CONTEXT, TARGET, BLOCKS, BATCH = 0.25, 0.175, 4, 2048
PATCHES = {"vit_small": 16, "vit_base": 16, "vit_large": 16, "vit_huge": 14, "vit_giant": 14}
WIDTH, DEPTH, HEADS = 384, {"vit_small": 6, "vit_base": 6}, 12


def networks(name: str) -> tuple[VisionTransformer, Predictor]:
    dim, depth, heads, ratio = SIZES[name]
    size = (224, 224)
    with torch.device("meta"):
        encoder = VisionTransformer(size, PATCHES[name], embed_dim=dim, depth=depth, num_heads=heads, mlp_ratio=ratio)
        return encoder, Predictor(encoder.grid_size, dim, WIDTH, DEPTH.get(name, 12), HEADS, joint=True)


def pass_flops(network: torch.nn.Module, tokens: float) -> float:
    """Of a pass of one sequence: 2 for a weight and token, and attention's two products."""
    weights = sum(p.numel() for p in network.blocks.parameters() if p.ndim == 2)
    dim = network.blocks[0].norm1.weight.shape[0]
    return 2 * weights * tokens + 4 * len(network.blocks) * tokens**2 * dim


def activations(network: torch.nn.Module, tokens: float, kept: bool) -> float:
    """Bytes of a sequence: 34 a channel, token and block (Korthikanti et al. 2022, arXiv 2205.05198, section 4.1, less
    the attention matrix, which is not stored); 2 where blocks are computed again."""
    dim = network.blocks[0].norm1.weight.shape[0]
    return (34 if kept else 2) * dim * tokens * len(network.blocks)


def row(name: str) -> dict:
    encoder, predictor = networks(name)
    patches = encoder.grid_size[0] * encoder.grid_size[1]
    seen, sequence = CONTEXT * patches, (CONTEXT + BLOCKS * TARGET) * patches
    trained = pass_flops(encoder, seen) + pass_flops(predictor, sequence)
    size, narrow = (sum(p.numel() for p in network.parameters()) for network in (encoder, predictor))
    kept, again = (activations(encoder, seen, k) + activations(predictor, sequence, k) for k in (True, False))
    return {
        "name": f"{name}/{PATCHES[name]}",
        "encoder": size / 1e6,
        "predictor": narrow / 1e6,
        "gflop": (pass_flops(encoder, patches) + 3 * trained) / 1e9,
        "state": (16 * (size + narrow) + 4 * size) / 2**30,
        "kept": kept / 2**20,
        "again": again / 2**20,
    }


def main() -> None:
    rows = [row(name) for name in PATCHES]
    print("| model | encoder, predictor (M) | GFLOP an image | weights, optimizer (GiB) | activations (MiB an image) |")
    for r in rows:
        sizes = "| {name} | {encoder:.0f}, {predictor:.0f} | {gflop:.1f} | {state:.1f} | {kept:.0f}, or {again:.0f} |"
        print(sizes.format(**r))
    print("\n| model | images/s a GPU | ImageNet-1k, 600 epochs, 8 GPUs (h) | a billion images once, 64 GPUs (h) |")
    for r in rows:
        rate = REACHED / r["gflop"] / 1e9
        hours = [images / (rate * gpus) / 3600 for images, gpus in ((600 * 1.281e6, 8), (1e9, 64))]
        print(f"| {r['name']} | {rate:,.0f} | {hours[0]:.1f} | {hours[1]:.1f} |")
    print(f"\n| model | GiB a GPU, batch {BATCH} on 8 GPUs: ddp | fsdp | fsdp, --checkpoint-activations |")
    for r in rows:
        share, state = BATCH / 8 / 1024, r["state"]
        totals = (state + share * r["kept"], state / 8 + share * r["kept"], state / 8 + share * r["again"])
        print("| {} | {:.0f} | {:.0f} | {:.0f} |".format(r["name"], *totals))


if __name__ == "__main__":
    main()
