"""Any image model of transformers, through its own code; nothing is run that a folder brings along."""

import contextlib
import inspect
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from openjepa.data.crops import Frame
from openjepa.encoder.foreign import ForeignNetwork, Layout, Outputs
from openjepa.errors import UsageError
from openjepa.interop.foreign.layout import layout_of
from openjepa.interop.foreign.preprocessor import preprocessing_of
from openjepa.interop.foreign.source import ForeignSource, probed
from openjepa.interop.foreign.tensors import check_numbers, count, refuse
from openjepa.interop.published import card_licence
from openjepa.interop.weights.files import FETCH, read_folder, tensors_of
from openjepa.optional import require
from openjepa.safety.schema import Json, checked, read_json, shortened

# Types whose networks take images alone and load nothing beside their own tensors.
NAMES = """
aimv2_vision_model beit bit clip_vision_model convnext convnextv2 cvt data2vec-vision deit dinov2
dinov2_with_registers dinov3_convnext dinov3_vit efficientnet focalnet hiera internvl_vision levit mlcd_vision_model
mobilenet_v1 mobilenet_v2 mobilevit mobilevitv2 poolformer pvt_v2 regnet resnet siglip_vision_model swin swinv2 vit
vit_mae vit_msn
"""
TYPES = NAMES.split()
SAME_NETWORK = {"vit_mae": "vit"}  # the class of vit_mae hides patches at random
EXTRA = {kind: {"add_pooling_layer": False} for kind in ("vit", "deit")}  # a dense layer that mostly is untrained
MAY_LACK = r"(.*\.)?mask_token|.*num_batches_tracked"  # used in training alone
SPARE = 2**20  # numbers that a network may have and its file lack
DEEPEST = 512

Whole = Annotated[int, Field(ge=-(2**17), le=2**17)]
Real = Annotated[float, Field(ge=-1e12, le=1e12)]
Scalar = bool | Whole | Real | Annotated[str, Field(max_length=100)] | None
Value = Scalar | Annotated[list[Scalar | Annotated[list[Scalar], Field(max_length=64)]], Field(max_length=64)]
Fields = dict[str, Json]


class TransformersNetwork(ForeignNetwork):
    """A model of transformers. Pooled features are its `pooler_output`, else its class token or the mean token.

    The pooler of ViT and its like, a dense layer with tanh that mostly is left untrained, is not used.
    """

    def outputs(self, images: Tensor) -> Outputs:
        found = forward(self.model, images)
        sequence = sequence_of(found)
        pooled = found.get("pooler_output")
        first = sequence[:, 0] if sequence is not None and self.layout.class_token else None
        if pooled is None:
            pooled = _mean(found["last_hidden_state"], self.layout.prefix) if first is None else first
        return self.layout.split(pooled.flatten(1), sequence)

    def at_size(self, image_size: tuple[int, int]) -> "TransformersNetwork":
        return transformers_network(self.model, image_size, self.facts)

    def untrained(self, seed: int) -> "TransformersNetwork":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build(self.facts["type"], self.facts["config"])
        return transformers_network(model, self.image_size, self.facts)


def transformers_network(model: nn.Module, image_size: tuple[int, int], facts: dict[str, Any]) -> TransformersNetwork:
    """The network around a module of transformers. Raises ValueError where it refuses images of that size."""
    config: Any = model.config
    in_chans = int(getattr(config, "num_channels", None) or 3)
    device = next(model.parameters()).device
    found = probed(lambda: forward(model.eval(), torch.zeros(1, in_chans, *image_size, device=device)))
    sequence, pooled = sequence_of(found), found.get("pooler_output")
    layout, width = Layout(), found["last_hidden_state"].shape[-1] if sequence is not None else 0
    patch_size = getattr(config, "patch_size", None)
    if sequence is not None and patch_size:
        rows, columns = patch_size if isinstance(patch_size, list | tuple) else (patch_size, patch_size)
        grid_size = image_size[0] // rows, image_size[1] // columns
        layout = layout_of(sequence.shape[1], image_size, grid_size, None, True)
    if layout.grid_size is None:
        last = found["last_hidden_state"]
        width = (pooled if pooled is not None else _mean(last, 0)).flatten(1).shape[-1]
    return TransformersNetwork(model, in_chans, image_size, width, layout, facts)


def sequence_of(found: dict[str, Any]) -> Tensor | None:
    """Tokens [B, T, D]; None where the last layer gives maps."""
    last = found["last_hidden_state"]
    return last if last.ndim == 3 else None


def _mean(last: Tensor, prefix: int) -> Tensor:
    """The mean over tokens [B, T, D] after the prefix, or over the places of maps [B, D, H, W]."""
    return last[:, prefix:].mean(dim=1) if last.ndim == 3 else last.mean(dim=(2, 3))


def forward(model: nn.Module, images: Tensor) -> dict[str, Any]:
    """The outputs by name; positions are interpolated where an image has another size than the model's own."""
    return dict(model(pixel_values=images, **interpolation(model, model.config, images)))


def interpolation(module: nn.Module, config: Any, images: Tensor) -> dict[str, bool]:
    """The argument by which a module interpolates positions, where images have another size than the config's."""
    size = getattr(config, "image_size", None)
    other = size not in (images.shape[2], list(images.shape[2:]), tuple(images.shape[2:]))
    takes = other and "interpolate_pos_encoding" in inspect.signature(module.forward).parameters
    return {"interpolate_pos_encoding": True} if takes else {}


def transformers_foreign(folder: Path, name: str) -> ForeignSource:
    """A model of transformers from a folder with config.json and model.safetensors. Raises UsageError.

    Of config.json the fields that the library's own configuration has are used; no code, address or file is.
    """
    facts = read_json(folder / "config.json", Fields, FETCH)
    state = tensors_of(read_folder(folder), name)
    kind, fields = tower_of(facts, name)
    config = config_fields(kind, fields, str(folder / "config.json"))
    if kind.endswith("_vision_model"):
        state = tower_tensors(state)
    model, notes = filled(kind, config, state, name)
    library = require("transformers", "hf")
    about = {"library": f"transformers {library.__version__}", "type": kind, "config": config}
    frame, mean, std, notice = preprocessing_of(folder, getattr(model.config, "image_size", None), name)
    network, frame = _at_possible_size(model, about, frame, name)
    return ForeignSource(name, network, frame, mean, std, card_licence(folder), (*notes, *notice))


def tower_tensors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the image tower under the names that it has alone."""
    inside = {key for key in state if key.startswith("vision_model.")}
    return {key.removeprefix("vision_model."): state[key] for key in inside} if inside else state


def tower_of(facts: Fields, name: str) -> tuple[str, Fields]:
    """The type and the fields of an image model, of the image tower where it has one for text too. UsageError."""
    kind, tower = str(facts.get("model_type")), facts.get("vision_config")
    if isinstance(tower, dict):
        kind, facts = f"{kind}_vision_model", tower
    if kind not in TYPES:
        known = ", ".join(["ijepa", *TYPES])
        raise UsageError(f"{name} is of model_type {shortened(kind)}, which cannot be opened: known are {known}")
    return SAME_NETWORK.get(kind, kind), facts


def config_fields(kind: str, facts: Fields, where: str) -> dict[str, Any]:
    """Those fields of config.json that shape the network, in bounds: what only models of this type have. UsageError."""
    shared = require("transformers", "hf").PreTrainedConfig().to_dict().keys()
    known = config_class(kind)().to_dict().keys() - shared
    fields = {key: value for key, value in facts.items() if key in known and not isinstance(value, dict)}
    found = checked(dict[str, Value], fields, where, FETCH)
    for key in ("num_hidden_layers", "depths"):
        numbers = found.get(key)
        if sum(n for n in (numbers if isinstance(numbers, list) else [numbers]) if isinstance(n, int)) > DEEPEST:
            raise UsageError(f"{where} has more than {DEEPEST} blocks in {key}: it cannot be used")
    return found


def config_class(kind: str) -> Any:
    """The library's class of the configuration of a type."""
    return require("transformers.models.auto.configuration_auto", "hf").CONFIG_MAPPING[kind]


def model_class(kind: str) -> Any:
    """The library's class for a type."""
    names = require("transformers.models.auto.modeling_auto", "hf").MODEL_MAPPING_NAMES
    return getattr(require("transformers", "hf"), names[kind])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress the library's own report and progress of loading, and warnings of torch about impossible sizes."""
    log = require("transformers.utils.logging", "hf")
    level, bar = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            yield
    finally:
        log.set_verbosity(level)
        if bar:
            log.enable_progress_bar()


def build(kind: str, fields: dict[str, Any]) -> nn.Module:
    """A model with its first weights."""
    with quiet():
        return model_class(kind)(config_class(kind)(**fields), **EXTRA.get(kind, {}))


def filled(kind: str, fields: dict[str, Any], state: dict[str, Tensor], name: str) -> tuple[nn.Module, list[str]]:
    """A model with the tensors of a file, and notes on what it does not use of it. Raises UsageError.

    The library matches the tensors, by the names of its earlier versions too. What the file would have to hold is
    counted before anything is built.
    """
    check_numbers({key: value for key, value in state.items() if value.is_floating_point()}, name)
    try:
        with torch.device("meta"):
            expected = build(kind, fields).state_dict()
        if count(expected) > count(state) + SPARE:
            raise ValueError(f"it has {count(state):,} numbers and its config.json asks for {count(expected):,}")
        numbers = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
        how: dict[str, Any] = {"state_dict": numbers, "output_loading_info": True} | EXTRA.get(kind, {})
        with quiet():
            model, found = model_class(kind).from_pretrained(None, config=config_class(kind)(**fields), **how)
    except Exception as error:  # the library's code, on fields and tensors that do not fit together
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
        raise UsageError(f"{name} does not fit its config.json ({reason}): {FETCH}") from error
    refuse({"missing": sorted(key for key in found["missing_keys"] if not re.fullmatch(MAY_LACK, key))}, name)
    unused = sorted({key.split(".")[0] for key in found["unexpected_keys"]})
    notes = [f"left out of {name}: {', '.join(map(shortened, unused[:6]))}"] if unused else []
    return model.requires_grad_(False), notes


def _at_possible_size(
    model: nn.Module, facts: dict[str, Any], frame: Frame, name: str
) -> tuple[TransformersNetwork, Frame]:
    """The network at the size of its preprocessing or, where it refuses that, at the one of its config.json."""
    own = getattr(model.config, "image_size", None)
    own = (own, own) if isinstance(own, int) else tuple(own or frame.size)
    try:
        return transformers_network(model, frame.size, facts), frame
    except ValueError as error:
        if own == frame.size:
            raise UsageError(f"{name} cannot be used for images of {own[0]}x{own[1]} px: {error}") from error
    return _at_possible_size(model, facts, frame._replace(size=own), name)
