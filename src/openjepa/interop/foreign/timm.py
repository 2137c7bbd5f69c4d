"""Any image model of timm, through timm's own code."""

import copy
import math
import warnings
from typing import Any

import torch
from PIL.Image import Resampling
from torch import Tensor, nn

from openjepa.data.crops import Frame
from openjepa.encoder.foreign import ForeignNetwork, Layout, Outputs
from openjepa.errors import UsageError
from openjepa.interop.foreign.layout import layout_of
from openjepa.interop.foreign.source import ForeignSource, probed
from openjepa.interop.foreign.tensors import fill_module
from openjepa.interop.foreign.timm_config import TimmConfig
from openjepa.interop.weights.files import FETCH
from openjepa.optional import require

KERNELS = {"bilinear": Resampling.BILINEAR, "bicubic": Resampling.BICUBIC, "lanczos": Resampling.LANCZOS}


class TimmNetwork(ForeignNetwork):
    """A model of timm. Pooled features are `forward_head(..., pre_logits=True)`, what `num_classes=0` returns."""

    def outputs(self, images: Tensor) -> Outputs:
        features, pooled = _forward(self.model, images)
        return self.layout.split(pooled, as_sequence(self.model, features))

    def at_size(self, image_size: tuple[int, int]) -> "TimmNetwork":
        model: Any = copy.deepcopy(self.model)
        if image_size != self.image_size and hasattr(model, "set_input_size"):
            try:
                model.set_input_size(img_size=image_size)
            except (AssertionError, RuntimeError, ValueError) as error:
                raise ValueError(f"timm refuses them ({str(error)[:150]})") from error
        return timm_network(model, image_size, self.facts)

    def untrained(self, seed: int) -> "TimmNetwork":
        arguments = self.facts["arguments"]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = create(self.facts["architecture"], arguments)
        return timm_network(model, image_size_of(model), self.facts).at_size(self.image_size)


def timm_source_of(config: TimmConfig, state: dict[str, Tensor], name: str) -> ForeignSource:
    """A model of timm with these tensors, which must be all of its own; a classifier is left out. UsageError.

    Nothing that the config names is opened or fetched; its arguments are checked (`check_arguments`).
    """
    arguments = config.model_args | {"num_classes": 0}
    try:
        with torch.device("meta"):
            expected = create(config.architecture, arguments).state_dict()
    except UsageError:
        raise
    except Exception as error:  # the library's code, on arguments that do not fit together
        raise UsageError(f"{name} cannot be built by timm ({str(error)[:150]}): {FETCH}") from error
    known = require("timm", "timm").get_pretrained_cfg(config.architecture)
    heads = known.classifier if known else None
    heads = tuple(heads) if isinstance(heads, tuple | list) else (heads or "head",)
    kept = {key: value for key, value in state.items() if key in expected or not key.startswith(heads)}
    model = fill_module(lambda: create(config.architecture, arguments), expected, kept, name)
    timm = require("timm", "timm")
    facts = {"library": f"timm {timm.__version__}", "architecture": config.architecture, "arguments": arguments}
    return _with_preprocessing(model, config, facts, name)


def create(architecture: str, arguments: dict[str, Any]) -> nn.Module:
    """A model of timm with its first weights. Warnings of torch are suppressed: impossible sizes raise an error."""
    timm = require("timm", "timm")
    changed = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        return timm.create_model(architecture, pretrained=False, **changed)


def timm_network(model: nn.Module, image_size: tuple[int, int], facts: dict[str, Any]) -> TimmNetwork:
    """The network around a module of timm. Raises ValueError where it refuses images of that size."""
    known: Any = model.eval()
    in_chans, device = channels_of(known, facts), next(model.parameters()).device
    features, pooled = probed(lambda: _forward(known, torch.zeros(1, in_chans, *image_size, device=device)))
    sequence = as_sequence(known, features)
    if sequence is None:
        return TimmNetwork(model, in_chans, image_size, pooled.shape[-1], Layout(), facts)
    first = getattr(known, "cls_token", None) is not None
    grid_size = tuple(features.shape[1:3]) if features.ndim == 4 else getattr(_stem(known), "grid_size", None)
    prefix = getattr(known, "num_prefix_tokens", None)
    layout = layout_of(sequence.shape[1], image_size, grid_size, prefix, first)
    width = sequence.shape[-1] if layout.grid_size else pooled.shape[-1]
    return TimmNetwork(model, in_chans, image_size, width, layout, facts)


def _stem(model: Any) -> Any:
    return getattr(model, "patch_embed", None)


def _forward(model: Any, images: Tensor) -> tuple[Any, Tensor]:
    """What `forward_features` returns, and the pooled features [B, F]."""
    features = model.forward_features(images)
    return features, model.forward_head(features, pre_logits=True).flatten(1)


def as_sequence(model: Any, features: Any) -> Tensor | None:
    """Tokens [B, T, D] of what `forward_features` returns; None where that is no sequence, as the maps of a CNN."""
    if not isinstance(features, Tensor):
        return None
    if features.ndim == 4 and getattr(model, "output_fmt", None) == "NHWC":
        return features.flatten(1, 2)
    return features if features.ndim == 3 else None


def channels_of(model: Any, facts: dict[str, Any]) -> int:
    return int(facts["arguments"].get("in_chans") or model.pretrained_cfg["input_size"][0])


def image_size_of(model: Any) -> tuple[int, int]:
    """(rows, columns) that a module of timm was built for, or that its weights were trained at."""
    size = getattr(_stem(model), "img_size", None) or model.pretrained_cfg["input_size"][1:]
    return int(size[0]), int(size[1])


def _with_preprocessing(model: Any, config: TimmConfig, facts: dict[str, Any], name: str) -> ForeignSource:
    """The source, with what config.json says of preprocessing and else what timm's own entry for the model says."""
    about, known = config.pretrained_cfg, model.pretrained_cfg
    fixed = getattr(_stem(model), "img_size", None) is not None and not facts["arguments"].get("dynamic_img_size")
    size = image_size_of(model) if fixed or about.input_size is None else about.input_size[1:]
    try:
        network = timm_network(model, size, facts)
    except ValueError as error:
        raise UsageError(f"{name} cannot be used for images of {size[0]}x{size[1]} px: {error}") from error
    kernel = KERNELS.get(about.interpolation or known["interpolation"], Resampling.BICUBIC)
    fraction = min(1.0, about.crop_pct or known["crop_pct"] or 1.0)
    zoom = size[0] / math.floor(size[0] / fraction)
    squash = (about.crop_mode or known["crop_mode"]) == "squash"
    mean, std = (list(own or known[key]) for own, key in ((about.mean, "mean"), (about.std, "std")))
    frame = Frame(size, math.inf if squash else 0.0, zoom, kernel)
    return ForeignSource(name, network, frame, mean, std, about.license or known.get("license"))
