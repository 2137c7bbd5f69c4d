"""Named settings. A recipe changes the defaults of config.py; what the person gives changes the recipe."""

from typing import Any

from openjepa.config import unknown
from openjepa.errors import UsageError

PUBLISHED = {
    "patch_init": "published",
    "lr": 1e-3,
    "lr_start": 2e-4,
    "warmup": 40 / 300,
    "ema_momentum": (0.996, 1.0),
    "clip_grad": 0.0,
}

# What --init changes of any recipe: trained weights want smaller steps and a slower target encoder.
CONTINUED = {"lr": 2e-4, "ema_momentum": (0.996, 1.0)}

RECIPES: dict[str, dict[str, Any]] = {
    # Small images on a CPU in minutes: the defaults of config.py.
    "laptop": {},
    # The published schedule and initialisation with our unbiased masks: ViT-B/16 at 224 px, for GPUs.
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
    "reference": PUBLISHED | {"masks": "reference"},
}


def recipe(name: str) -> dict[str, Any]:
    """The settings of a recipe; raises UsageError for a name that is not known."""
    if name not in RECIPES:
        raise UsageError(unknown("recipe", name, RECIPES))
    return RECIPES[name]
