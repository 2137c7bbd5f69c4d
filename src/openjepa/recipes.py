"""Named settings. A recipe changes the defaults of config.py; what the person gives changes the recipe.

docs/recipes.md holds what each was measured to do, and the study that they come from.
"""

from typing import Any

from openjepa.config import unknown
from openjepa.errors import UsageError

# What differs from our defaults in the published code (configs/in1k_vith14_ep300.yaml).
PUBLISHED = {
    "weight_init": "published",
    "optimizer": "adamw",
    "target_sequences": "separate",
    "lr": 1e-3,
    "weight_decay": (0.04, 0.4),
    "lr_start": 2e-4,
    "warmup": 40 / 300,
    "ema_momentum": (0.996, 1.0),
    "clip_grad": 0.0,
}

# What --init changes of any recipe: trained weights want smaller steps and a slower target encoder.
CONTINUED = {"lr": 2e-4, "ema_momentum": (0.996, 1.0)}

RECIPES: dict[str, dict[str, Any]] = {
    # Small images on a CPU in minutes. Random masks teach more than blocks on a coarse grid, and steps more than
    # images: few images a step, each with several masks for one pass of the target encoder.
    "laptop": {"masks": "random", "crop_scale": (0.5, 1.0), "batch_size": 16, "mask_draws": 4},
    # A GPU and hours: ViT-S on an 8x8 grid, I-JEPA alone.
    "small": {
        "model": "vit_small",
        "image_size": "128",
        "patch_size": 16,
        "batch_size": 256,
        "predictor_dim": 192,
        "predictor_depth": 6,
        "predictor_heads": 6,
        "masks": "random",
        "time": "3h",
        "workers": 8,
    },
    # The published schedule and initialisation with our unbiased masks: ViT-B/16 at 224 px, for many GPU hours.
    "paper": PUBLISHED
    | {
        "model": "vit_base",
        "image_size": "224",
        "patch_size": 16,
        "batch_size": 2048,
        "predictor_dim": 384,
        "predictor_depth": 6,
        "predictor_heads": 12,
        "time": None,
        "epochs": 600,
        "workers": 8,
    },
    # The published code's behaviour, mask faults included, at the sizes of `laptop`: for comparison.
    "reference": PUBLISHED | {"masks": "reference", "batch_size": 256},
}
SMALL_SIDE, WIDE_SIDE = 96, 48


def recipe(name: str) -> dict[str, Any]:
    """The settings of a recipe; raises UsageError for a name that is not known."""
    if name not in RECIPES:
        raise UsageError(unknown("recipe", name, RECIPES))
    return RECIPES[name]


def pick_recipe(side: int, device: str) -> tuple[dict[str, Any], str]:
    """Settings for images of a typical shorter `side` in pixels on a kind of device, and why, in a line."""
    if device == "cuda" and side >= SMALL_SIDE:
        return RECIPES["small"], f"recipe small, because there is a GPU and the images are {side} px"
    where = "the images are small" if device == "cuda" else f"this trains on {device}"
    if side < WIDE_SIDE:
        return RECIPES["laptop"], f"recipe laptop at 32 px, because {where} and the images are {side} px"
    wide = RECIPES["laptop"] | {"image_size": "64", "patch_size": 8}
    return wide, f"recipe laptop at 64 px with patches of 8, because {where} and the images are {side} px"
