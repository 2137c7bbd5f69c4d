"""Settings without effect beside the others: an error where the user gives one; tune and reports leave them out."""

from collections.abc import Mapping
from typing import Any

from openjepa.config import FIELDS, Config
from openjepa.errors import UsageError, option, shown
from openjepa.masking.samplers import STRATEGIES
from openjepa.own import names_own
from openjepa.runs.images import mask_settings
from openjepa.runs.planning.build_model import method_of
from openjepa.runs.planning.views import check_batch, views_of

MASKS = tuple(name for name, spec in FIELDS.items() if spec.metadata["panel"] == "Masks")


def without_effect(config: Config) -> dict[str, str]:
    """Why a setting has no effect, by its name; raises UsageError if the masks do not fit the grid."""
    found = _unused_by_masks(config) | dict(method_of(config).unused_settings)
    if not config.init:
        found["init_freeze"] = "it needs --init"
    if method_of(config).views == 1:
        found["views"] = f"{config.method} looks at one crop of an image"
    if config.any_orientation:
        found["horizontal_flip"] = "--any-orientation mirrors crops too"
    if why := why_no_graph(config):
        found["cuda_graph"] = why
    if not config.warmup:
        found["lr_start"] = "there is no warm-up"
    return found


def why_no_graph(config: Config) -> str:
    """Why the settings rule out a CUDA graph, which needs the same shapes and parameters in every step; "" if not."""
    masks = mask_settings(config)
    reasons = {
        "the method or the model is a program's own": names_own(config.method) or names_own(config.model),
        "a CPU has no CUDA graphs": config.device == "cpu",
        "its gradients are added up over parts": config.accumulate > 1,
        "the encoder of --init may be frozen at first": bool(config.init),
        "the masks differ in shape from step to step": masks is not None and not STRATEGIES[masks.strategy].same_shapes,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _unused_by_masks(config: Config) -> dict[str, str]:
    masks = mask_settings(config)
    if masks is None:
        return dict.fromkeys(MASKS, f"{config.method} uses no masks")
    found = dict.fromkeys(STRATEGIES[masks.strategy].unused, f"{masks.strategy} masks do not use it")
    if masks.num_targets == 1:
        found["target_sequences"] = f"{masks.strategy} masks have one target an image"
    return found


def check_settings(config: Config, given: Mapping[str, Any]) -> None:
    """Raise UsageError if masks, views or batch do not fit, or if one of the `given` settings would do nothing."""
    for name, why in without_effect(config).items():
        if given.get(name) is not None:
            raise UsageError(f"{option(name)} {shown(given[name])} would do nothing: {why}; leave it out")
    views_of(config)
    check_batch(config)
