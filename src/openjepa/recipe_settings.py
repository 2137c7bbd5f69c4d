"""Recipes: named settings for a kind of images and machine, to which the settings that the user gives are applied.

docs/recipes.md says what each was measured to do, and where its settings come from.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from openjepa.config import Config, build_config, image_size, normal, seconds
from openjepa.errors import UsageError, unknown
from openjepa.methods.registry import METHODS
from openjepa.own import OWN

# What the published code does otherwise (configs/in1k_vith14_ep300.yaml). Without `masks` the method decides.
PUBLISHED = {
    "max_stretch": 0.0,
    "masks": None,
    "context_ratio": 0.25,
    "masks_per_image": 1,
    "crop_scale": (0.3, 1.0),
    "predictor_depth": 2,
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

# What the paper (arXiv 2301.08243, table 1 and its appendix) and the published files (configs/*.yaml) change with the
# model: L/16, H/14, G/16. Without one `paper` is B/16. A published predictor has as many heads as the encoder.
PUBLISHED_SIZES: dict[str, dict[str, Any]] = {
    "vit_large": {"predictor_depth": 12, "predictor_heads": 16},
    "vit_huge": {"patch_size": 14, "predictor_depth": 12, "predictor_heads": 16, "epochs": 300},
    "vit_giant": {"predictor_depth": 16, "predictor_heads": 16},
}

# What --init changes of any recipe: trained weights want smaller steps and a slower target encoder.
CONTINUED = {"lr": 2e-4, "ema_momentum": (0.996, 1.0)}


class Recipe(NamedTuple):
    """What a recipe is for, in a line, and the settings in which it differs from the defaults of Config.

    `published_size`: its image size is that of the publication, whatever the proportions of the images.
    """

    help: str
    settings: dict[str, Any]
    published_size: bool = False


RECIPES = {
    # The defaults of Config. Random masks teach more than blocks on a coarse grid, and steps more than images: few
    # images a step, each with several masks for one pass of the target encoder, and a predictor of a block. Longer runs
    # have a wider encoder (_laptop), MAE has its own sizes (methods/mae.py).
    "laptop": Recipe("small images on a CPU, in minutes", {}),
    # ViT-S on an 8x8 grid, with the masks, the shallow predictor and the decay of `laptop`. Mirrored crops, because it
    # passes over the images many times.
    "small": Recipe(
        "larger images on a GPU, in hours",
        {
            "model": "vit_small",
            "image_size": "128",
            "patch_size": 16,
            "batch_size": 128,
            "predictor_dim": 192,
            "predictor_depth": 2,
            "predictor_heads": 6,
            "lr": 5e-4,
            "crop_scale": (0.3, 1.0),
            "horizontal_flip": True,
            "time": "3h",
        },
    ),
    # ViT-B/16 at 224 px; for other models see PUBLISHED_SIZES.
    "paper": Recipe(
        "the published schedule and initialisation with unbiased masks, for many GPU hours",
        PUBLISHED
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
        },
        published_size=True,
    ),
    "reference": Recipe(
        "the published code's behaviour, faults of its masks included, at the sizes of laptop, for comparison",
        PUBLISHED | {"masks": "reference", "batch_size": 256},
        published_size=True,
    ),
}
# From so many seconds on `laptop` is 192 wide: the linear probe of 128 numbers stops rising after ten minutes.
LONG, LONGER = 1200, "vit_micro"
# Beside a predictor of 64 numbers the targets of a wider encoder stay as poor as that can predict.
WIDER = {"vit_micro": {"predictor_dim": 128}}
SMALL_SIDE, WIDE_SIDE, WIDE_PATCH = 96, 48, 8  # pixels
# What `small` needs to be worth its larger network, by judgement and not by measurement: 2,000 images are sixteen of
# its steps.
ENOUGH_IMAGES, ENOUGH_SECONDS = 2_000, 900


def recipe(name: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The settings of a recipe for the `given` model, method and time; raises UsageError for an unknown name."""
    if name not in RECIPES:
        raise UsageError(unknown("recipe", name, RECIPES))
    given = given or {}
    changes = {"paper": PUBLISHED_SIZES.get(given.get("model", ""), {}), "laptop": _laptop(given)}
    return RECIPES[name].settings | changes.get(name, {}) | _method_changes(name, given.get("method"))


def _method_changes(name: str, method: str | None) -> dict[str, Any]:
    """What a method changes of a recipe; a name that is not known is refused where a Config is built."""
    found = OWN["method"].get(method or "") or (METHODS[method].load() if method in METHODS else None)
    return dict(found.recipe_overrides.get(name, {})) if found else {}


def _laptop(given: Mapping[str, Any]) -> dict[str, Any]:
    """What `laptop` changes for the given time and model."""
    longer = {"model": LONGER} if is_long(given.get("time")) else {}
    model = given.get("model") or longer.get("model", "")
    return longer | WIDER.get(model, {})


def config_of(name: str | None, given: Mapping[str, Any]) -> Config:
    """The config of a recipe, `laptop` where none is named, with the `given` settings; raises UsageError."""
    changes = CONTINUED if given.get("init") else {} if name else _patches_for(given.get("image_size"))
    return build_config(recipe(name or "laptop", given) | changes, given)


def _patches_for(size: Any) -> dict[str, Any]:
    """What `laptop` changes for an image size that is given, where the images decide the recipe."""
    if size is None:
        return {}
    return {"patch_size": WIDE_PATCH} if min(image_size(normal("image_size", size))) >= WIDE_SIDE else {}


def is_long(time: str | float | None) -> bool:
    return time is not None and seconds(str(time)) >= LONG


# The settings that some recipe decides.
DECIDED = {"image_size", "patch_size"}.union(
    CONTINUED,
    *(entry.settings for entry in RECIPES.values()),
    *PUBLISHED_SIZES.values(),
    *(changes for entry in METHODS.values() for changes in entry.load().recipe_overrides.values()),
)


class Pick(NamedTuple):
    """A recipe by name, what it changes for these images, and the reason in words."""

    name: str
    changes: dict[str, Any]
    why: str


def pick_recipe(
    side: int, images: int, device: str, seconds: float | None = None, image_size: str | None = None
) -> Pick:
    """A recipe for a number of images, the kind of device, the size of the images and, where given, the time.

    side: typical shorter side of the images, in pixels; image_size: the --image-size that the user gave instead.
    """
    size = f"--image-size is {image_size}" if image_size else f"the images are {side} px"
    small = {
        f"this trains on {device}": device == "cuda",
        size: side >= SMALL_SIDE,
        f"there are only {images:,} images": images >= ENOUGH_IMAGES,
        f"there are only {seconds or 0:g} s": seconds is None or seconds >= ENOUGH_SECONDS,
    }
    against = next((reason for reason, fine in small.items() if not fine), None)
    if not against:
        return Pick("small", {}, f"there is a GPU, there are {images:,} images, and {size}")
    changes = {"image_size": "64", "patch_size": WIDE_PATCH} if side >= WIDE_SIDE else {}
    return Pick("laptop", changes, against if against == size else f"{against} and {size}")
