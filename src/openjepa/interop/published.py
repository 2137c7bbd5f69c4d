"""The published checkpoint, transformers' folder and timm's weights, as a Source."""

import re
from pathlib import Path
from typing import Any

from torch import Tensor

from openjepa.errors import UsageError
from openjepa.interop.loaded_weights import IMAGENET_MEAN, IMAGENET_STD, PUBLISHED_LICENCE, Source
from openjepa.interop.weights.files import FETCH, read_facts, read_folder, tensors_of
from openjepa.interop.weights.from_tensors import encoder_from_tensors, predictor_from_tensors
from openjepa.interop.weights.shapes import Eps, Heads, Mean, Side, Std
from openjepa.interop.weights.tensor_names import from_hf, from_official
from openjepa.models.vit import VisionTransformer
from openjepa.safety.schema import Schema, checked, read_json, shortened

OFFICIAL = {"encoder", "target_encoder", "predictor"}
# Parts that an I-JEPA encoder has no use for, by what they are: none of them acts on patch tokens.
DROPPED = {
    "class token": r"cls_token",
    "classifier": r"(head|classifier)\.(weight|bias)",
    "pooler": r"pooler\.dense\.(weight|bias)",
    "mask token": r"(embeddings\.)?mask_token",
}
MOST_CARD = 2**20  # characters of a model card that are searched
PUBLISHED_NAME = re.compile(r"(^|/)ijepa_vit[hg]\d+_\w+$")


class HfConfig(Schema):
    """What of config.json decides the shape of an encoder; the rest follows from its tensors."""

    image_size: Side | tuple[Side, Side] | None = None
    num_attention_heads: Heads = 12
    layer_norm_eps: Eps = 1e-12

    @property
    def size(self) -> tuple[int, int] | None:
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size


class HfPreprocessor(Schema):
    """What of preprocessor_config.json is used."""

    image_mean: tuple[Mean, ...] | None = None
    image_std: tuple[Std, ...] | None = None


def official_source(
    name: str, content: dict, num_heads: int | None = None, image_size: tuple[int, int] | None = None
) -> Source:
    """The published layout: `encoder`, `target_encoder` and `predictor`, whose heads are the encoder's. UsageError."""
    if missing := OFFICIAL - content.keys():
        raise UsageError(f"{name} is half a checkpoint, it lacks {', '.join(sorted(missing))}: fetch it again")
    states = {part: from_official(tensors_of(content[part], f"{part} of {name}")) for part in OFFICIAL}
    context, target = (
        encoder_from_tensors(states[part], f"{part} of {name}", num_heads, image_size)
        for part in ("encoder", "target_encoder")
    )
    if context.arguments() != target.arguments():
        raise UsageError(f"{name} has two encoders of different shapes: it cannot be used")
    predictor = predictor_from_tensors(states["predictor"], target, target.num_heads, f"predictor of {name}")
    about = {key: content[key] for key in ("epoch", "batch_size", "world_size") if _is_count(content.get(key))}
    return Source(
        name,
        "official",
        IMAGENET_MEAN,
        IMAGENET_STD,
        target=target,
        context=context,
        predictor=predictor,
        licence=PUBLISHED_LICENCE,
        about=about,
    )


def hf_source(folder: Path, name: str, statistics: str = "auto") -> Source:
    """A folder that transformers' I-JEPA opens. Raises UsageError for one that it would not open as it is meant."""
    path = folder / "config.json"
    facts = read_facts(path)
    wrong = [
        f"{key} is {shortened(str(facts.get(key)))}"
        for key, allowed in (("model_type", ("ijepa",)), ("hidden_act", ("gelu", None)), ("qkv_bias", (True, None)))
        if facts.get(key) not in allowed
    ]
    if wrong:
        raise UsageError(f"{name} is no I-JEPA folder of transformers ({', '.join(wrong)}): only those can be imported")
    config = checked(HfConfig, facts, str(path), FETCH)
    tensors = {key.removeprefix("ijepa."): value for key, value in tensors_of(read_folder(folder), name).items()}
    state, notes = without_dropped(tensors, name)
    network = encoder_from_tensors(from_hf(state), name, config.num_attention_heads, config.size, config.layer_norm_eps)
    mean, std, notice = _statistics(folder, name, statistics)
    published = bool(PUBLISHED_NAME.search(name.rstrip("/")))
    licence = PUBLISHED_LICENCE if published else card_licence(folder)
    which: dict[str, Any] = {"context": network} if published else {"target": network}
    return Source(name, "hf", mean, std, **which, licence=licence, notes=(*notes, *notice))


def plain_source(
    name: str, state: dict[str, Tensor], num_heads: int | None = None, image_size: tuple[int, int] | None = None
) -> Source:
    """A plain ViT under timm's or transformers' names, its preprocessing unknown and so ImageNet's. UsageError."""
    state = {
        key.removeprefix("module.").removeprefix("ijepa."): value for key, value in tensors_of(state, name).items()
    }
    network, notes = plain_vit(from_hf(state), name, num_heads, image_size)
    notice = f"{name} does not state its preprocessing: ImageNet's mean and std are used"
    return Source(name, "timm", IMAGENET_MEAN, IMAGENET_STD, target=network, notes=(*notes, notice))


def plain_vit(
    state: dict[str, Tensor], name: str, num_heads: int | None = None, image_size: tuple[int, int] | None = None
) -> tuple[VisionTransformer, list[str]]:
    """An encoder from timm's tensors, the class token and its position left out, and what was left out."""
    has_token = "cls_token" in state
    state, notes = without_dropped(state, name)
    table = state.get("pos_embed")
    if has_token and table is not None and table.ndim == 3 and not _is_grid(table.shape[1]):
        state["pos_embed"] = table[:, 1:]
    return encoder_from_tensors(state, name, num_heads, image_size), notes


def without_dropped(state: dict[str, Tensor], name: str) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of the encoder itself, and a note that names what else there was."""
    parts = {key: part for key in state for part, pattern in DROPPED.items() if re.fullmatch(pattern, key)}
    kept = {key: value for key, value in state.items() if key not in parts}
    if not parts:
        return kept, []
    note = f"left out of {name}: {', '.join(dict.fromkeys(parts.values()))}"
    moved = "; patch tokens attended to the class token, so without it they are a little different"
    return kept, [note + moved * ("class token" in parts.values())]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < 2**53


def _is_grid(patches: int) -> bool:
    return int(patches**0.5 + 0.5) ** 2 == patches


def _statistics(folder: Path, name: str, wanted: str) -> tuple[list[float], list[float], list[str]]:
    """Mean and std, and a notice where the folder's own are not those of the published weights."""
    path = folder / "preprocessor_config.json"
    own = read_json(path, HfPreprocessor, FETCH) if path.is_file() else HfPreprocessor()
    mean, std = list(own.image_mean or IMAGENET_MEAN), list(own.image_std or IMAGENET_STD)
    if len(mean) != len(std):
        raise UsageError(f"{path} is damaged: {len(mean)} means and {len(std)} stds: {FETCH}")
    gaps = [abs(a - b) for a, b in zip([*mean, *std], [*IMAGENET_MEAN, *IMAGENET_STD], strict=False)]
    if (len(mean) == 3 and max(gaps) < 1e-3) or wanted == "source":
        return mean, std, []
    differs = f"{name}'s own preprocessor has mean {mean[0]:g} and std {std[0]:g}"
    if wanted == "imagenet" or PUBLISHED_NAME.search(name.rstrip("/")):
        used = "the published weights were trained with ImageNet's, which are used"
        return IMAGENET_MEAN, IMAGENET_STD, [f"warning: {differs}; {used}"]
    used = "they are used; for a copy of the published weights give --statistics imagenet"
    return mean, std, [f"warning: {differs}, not ImageNet's; {used}"]


def card_licence(folder: Path) -> str | None:
    """The licence in the front matter of a model card, if it states one."""
    path = folder / "README.md"
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace") as card:
        found = re.search(r"^license: *(\S{1,100})", card.read(MOST_CARD), re.MULTILINE)
    return found[1] if found and found[1] != "unknown" else None
