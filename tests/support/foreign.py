"""Folders of timm and of transformers with small networks of real architectures and random weights."""

import json
from pathlib import Path
from typing import Any

import timm
import torch
import transformers
from timm.models._hub import save_for_hf
from torch import Tensor, nn
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

SMALL: dict[str, Any] = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 32}
TIMM: dict[str, dict[str, Any]] = {
    "vit_base_patch16_224": SMALL | {"patch_size": 8},
    "deit_small_distilled_patch16_224": SMALL,
    "deit3_small_patch16_224": SMALL | {"patch_size": 8},
    "vit_small_patch14_reg4_dinov2": SMALL | {"img_size": 28},
    "vit_little_patch16_reg1_gap_256": SMALL,
    "vit_small_patch16_dinov3": SMALL,
    "eva02_tiny_patch14_224": SMALL | {"img_size": 28},
    "beit_base_patch16_224": SMALL,
    "vit_base_patch16_clip_224": SMALL,
    "vit_base_patch16_siglip_224": SMALL,
    "swin_tiny_patch4_window7_224": {
        "embed_dim": 16,
        "depths": (1, 1),
        "num_heads": (1, 2),
        "img_size": 32,
        "window_size": 4,
    },
    "convnext_tiny": {"dims": (8, 8, 16, 16), "depths": (1, 1, 1, 1)},
    "resnet18": {"channels": (8, 8, 16, 16)},
}
TOWER: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
STAGES: dict[str, Any] = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "image_size": 32}
TRANSFORMERS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("vit", "deit", "beit", "dinov2", "clip_vision_model", "siglip_vision_model", "vit_msn"), TOWER),
    "dinov2_with_registers": TOWER | {"use_swiglu_ffn": True},
    "dinov3_vit": TOWER | {"num_register_tokens": 4},
    "aimv2_vision_model": TOWER,
    "swin": {
        "image_size": 32,
        "patch_size": 4,
        "embed_dim": 16,
        "depths": [1, 1],
        "num_heads": [1, 2],
        "window_size": 4,
    },
    "convnext": STAGES,
    "dinov3_convnext": STAGES,
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
}
CNNS = ("convnext_tiny", "resnet18", "convnext", "dinov3_convnext", "resnet")


def scattered(model: nn.Module) -> nn.Module:
    """The model with weights of no particular kind: first weights leave LayerScale, biases and tokens near zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn(value.shape, generator=generator) * 0.05)
    return model.eval()


def timm_folder(folder: Path, name: str, **changes: Any) -> nn.Module:
    """Write a small model of timm as timm does for the Hub; returns the model, with a classifier."""
    arguments = TIMM[name] | changes
    model = scattered(timm.create_model(name, pretrained=False, num_classes=5, **arguments))
    save_for_hf(model, folder, model_args=arguments, safe_serialization=True)
    if name in CNNS:
        change_config(folder, "pretrained_cfg", input_size=[3, 64, 64])
    return model


def transformers_folder(folder: Path, kind: str, **changes: Any) -> nn.Module:
    """Write a small model of transformers as `save_pretrained` does; returns the model."""
    config = CONFIG_MAPPING[kind](**(TRANSFORMERS[kind] | changes))
    model = scattered(getattr(transformers, MODEL_MAPPING_NAMES[kind])(config))
    model.save_pretrained(folder)
    if kind == "resnet":  # states no size in its config.json
        (folder / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 64, "width": 64}}))
    return model


def images(image_size: tuple[int, int], count: int = 3) -> Tensor:
    """uint8 images [count, 3, H, W] of noise."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, *image_size), generator=generator, dtype=torch.uint8)


def change_config(folder: Path, part: str | None = None, **fields: Any) -> None:
    """Change fields of config.json, or of an object in it."""
    config = json.loads((folder / "config.json").read_text())
    (config[part] if part else config).update(fields)
    (folder / "config.json").write_text(json.dumps(config))
