"""A folder that timm.create_model("local-dir:FOLDER", pretrained=True) opens, and "hf-hub:NAME" once it is pushed."""

from pathlib import Path

from openjepa.files import write_json
from openjepa.interop.artifact import hidden_width
from openjepa.interop.formats.registry import Forward, Options
from openjepa.interop.formats.safetensors import with_positions, write_predictor
from openjepa.interop.loaded_weights import Source
from openjepa.interop.weights.files import save_tensors
from openjepa.models.vit import VisionTransformer
from openjepa.optional import require

BASE = "vit_base_patch16_224"  # any plain ViT of timm's: the arguments beside it decide every size


def write(folder: Path, source: Source, options: Options) -> None:
    encoder = source.encoder(options.which)
    save_tensors(with_positions(encoder), folder / "model.safetensors")
    write_json(folder / "config.json", timm_config(encoder, source))
    write_predictor(folder, source, options)


def reopen(folder: Path, options: Options, source: Source) -> Forward:
    model = require("timm", "timm").create_model(f"local-dir:{folder.absolute()}", pretrained=True).eval()
    return model.forward_features


def timm_config(encoder: VisionTransformer, source: Source) -> dict:
    """timm's config.json: a known architecture, and the arguments that make it this one.

    Its transform crops images as ours does, but for a rectangular size with a `max_stretch`, where it stretches each.
    """
    rows, columns = encoder.image_size
    hidden = hidden_width(encoder)
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
        "crop_mode": "squash" if rows != columns and source.max_stretch else "center",
        "mean": source.mean,
        "std": source.std,
        "num_classes": 0,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        "license": source.licence or "unknown",
    }
    return {
        "architecture": BASE,
        "num_classes": 0,
        "num_features": encoder.embed_dim,
        "model_args": arguments,
        "pretrained_cfg": about,
    }
