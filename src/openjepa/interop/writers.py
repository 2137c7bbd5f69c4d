"""Export formats. Each writer writes an encoder, opens it with the other library and returns its forward pass."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from openjepa.errors import UsageError
from openjepa.files import write_json
from openjepa.interop.artifact import preprocessing, write_artifact
from openjepa.interop.published import official_source
from openjepa.interop.source import Source
from openjepa.interop.tensor_names import to_official
from openjepa.interop.weight_files import read_weights, save_tensors
from openjepa.models.resize import fill, hollow, weights_of
from openjepa.models.vit import VisionTransformer
from openjepa.optional import require

Theirs = Callable[[Tensor], Tensor]  # pixels [B, C, H, W], standardised, to patch tokens [B, N, D]


@torch.no_grad()
def compare(theirs: Theirs, encoder: VisionTransformer, pixels: Tensor) -> dict:
    """Largest and mean absolute difference of patch tokens and embeddings over pixels [B, C, H, W]."""
    pairs = [(theirs(image).float(), encoder(image)) for image in pixels.split(1)]
    a, b = (torch.cat(tokens) for tokens in zip(*pairs, strict=True))
    return {"images": len(pixels), "patch_tokens": _gap(a, b), "embedding": _gap(a.mean(dim=1), b.mean(dim=1))}


def _gap(a: Tensor, b: Tensor) -> dict[str, float]:
    gap = (a - b).abs()
    return {"max": float(gap.max()), "mean": float(gap.mean()), "typical_size": float(b.abs().mean())}


TIMM_BASE = "vit_base_patch16_224"  # any plain ViT of timm's: the arguments beside it decide every size


def write_hf(folder: Path, source: Source, which: str, with_predictor: bool) -> Theirs:
    """What transformers.AutoModel.from_pretrained opens, with openjepa.json for what that layout cannot say."""
    encoder = source.encoder(which)
    how = {"values": source.values, "pages": source.pages}
    alone = Source(source.name, source.kind, source.mean, source.std, **{source.held(which): encoder}, **how)
    alone = alone if not with_predictor else source
    write_artifact(folder, alone, which, _about(source))
    model = require("transformers", "hf").AutoModel.from_pretrained(folder).eval()
    return lambda pixels: model(pixels).last_hidden_state


def write_timm(folder: Path, source: Source, which: str, with_predictor: bool) -> Theirs:
    """What timm.create_model("local-dir:FOLDER", pretrained=True) opens, and "hf-hub:NAME" once it is pushed."""
    encoder = source.encoder(which)
    save_tensors(_with_positions(encoder), folder / "model.safetensors")
    write_json(folder / "config.json", timm_config(encoder, source.mean, source.std, source.licence))
    _write_predictor(folder, source, with_predictor)
    model = require("timm", "timm").create_model(f"local-dir:{folder.absolute()}", pretrained=True).eval()
    return model.forward_features


def write_safetensors(folder: Path, source: Source, which: str, with_predictor: bool) -> Theirs:
    """encoder.safetensors under timm's names, its `pos_embed` [1, N, D] among them; encoder.json says the shape."""
    encoder = source.encoder(which)
    save_tensors(_with_positions(encoder), folder / "encoder.safetensors")
    about = {"encoder": encoder.arguments(), **preprocessing(source), "licence": source.licence}
    write_json(folder / "encoder.json", about)
    _write_predictor(folder, source, with_predictor)
    with safe_open(folder / "encoder.safetensors", "pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return fill(hollow(**encoder.arguments()), state, state.pop("pos_embed")[0])


def write_official(folder: Path, source: Source, which: str, with_predictor: bool) -> Theirs:
    """checkpoint.pth.tar in the published layout: both encoders and the predictor, always."""
    if not (source.target and source.context and source.predictor):
        raise UsageError(f"{source.name} lacks a network: that layout holds encoders and predictor")
    encoder = source.target
    if encoder.position_code != "sincos" or encoder.native_size != encoder.grid_size or len(set(encoder.grid_size)) > 1:
        raise UsageError(
            f"{source.name} has positions that the published layout cannot hold: it knows the sin-cos code of a "
            "square grid, the one trained on; use another --to"
        )
    parts = {"encoder": source.context, "target_encoder": source.target}
    content: dict = {name: to_official(_with_positions(network), False) for name, network in parts.items()}
    predictor = {**source.predictor.state_dict(), "pos_embed": source.predictor.pos_embed[None]}
    content |= {"predictor": to_official(predictor, True), "opt": None, "scaler": None, "epoch": 0}
    path = folder / "checkpoint.pth.tar"
    torch.save(content, path)
    return official_source(str(path), read_weights(path), source.target.num_heads, source.target.image_size).encoder(
        which
    )


def timm_config(encoder: VisionTransformer, mean: list[float], std: list[float], licence: str | None) -> dict:
    """timm's config.json: a known architecture, and the arguments that make it this one."""
    hidden = encoder.blocks[0].mlp.fc1.out_features
    ratio = hidden / encoder.embed_dim
    exact = ratio if int(encoder.embed_dim * ratio) == hidden else (hidden + 0.5) / encoder.embed_dim
    arguments = {
        "img_size": list(encoder.image_size),
        "patch_size": encoder.patch_size,
        "in_chans": encoder.in_chans,
        "embed_dim": encoder.embed_dim,
        "depth": len(encoder.blocks),
        "num_heads": encoder.num_heads,
        "mlp_ratio": exact,  # timm rounds the product down
        "class_token": False,
        "global_pool": "avg",
        "fc_norm": False,
    }
    about = {
        "input_size": [encoder.in_chans, *encoder.image_size],
        "fixed_input_size": True,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "crop_mode": "center",
        "mean": mean,
        "std": std,
        "num_classes": 0,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        "license": licence or "unknown",
    }
    return {
        "architecture": TIMM_BASE,
        "num_classes": 0,
        "num_features": encoder.embed_dim,
        "model_args": arguments,
        "pretrained_cfg": about,
    }


def _about(source: Source) -> dict:
    first = source.about.get("source", {"name": source.name, "kind": source.kind})
    return {**source.about, "source": {**first, "licence": source.licence}}


def _with_positions(encoder: VisionTransformer) -> dict[str, Tensor]:
    weights = {name: value.contiguous() for name, value in weights_of(encoder).items()}
    return {"pos_embed": encoder.pos_embed[None].contiguous(), **weights}


def _write_predictor(folder: Path, source: Source, wanted: bool) -> None:
    if wanted:
        save_tensors(source.predictor.state_dict(), folder / "predictor.safetensors")
        write_json(folder / "predictor.json", source.predictor.arguments())
