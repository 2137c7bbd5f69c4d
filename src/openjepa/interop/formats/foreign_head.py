"""A head on a network of another library, as a folder that this library opens, where its own classifier says the same.

Such a classifier is built by the library, with the network's tensors, and compared: what it puts into its linear layer
must be the embedding, alone or beside others.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openjepa.encoder.foreign import ForeignEncoder
from openjepa.files import write_json
from openjepa.interop.foreign import timm, transformers
from openjepa.interop.foreign.artifact import StoredTensors
from openjepa.interop.foreign.preprocessor import FILE
from openjepa.interop.foreign.source import ForeignSource
from openjepa.interop.foreign.trainable_timm import timm_config
from openjepa.interop.foreign.trainable_transformers import preprocessor
from openjepa.interop.weights.files import save_tensors
from openjepa.optional import require

CLOSE = 1e-4  # largest difference of embeddings, beside their size
State = dict[str, Tensor]
POOLED: dict[str, tuple[dict[str, Any], ...]] = {  # arguments of timm's vision transformers
    "auto": ({},),
    "class": ({"global_pool": "token"},),
    "mean": ({"global_pool": "avg", "fc_norm": False}, {"global_pool": "avg", "use_fc_norm": False}),
}


@dataclass(frozen=True)
class LibraryHead:
    """A network with its head as a module of its library; `write` puts the files into a folder (OSError)."""

    library: str
    model: nn.Module
    tensors: StoredTensors
    write: Callable[[Path], None]


def library_head(
    encoder: ForeignEncoder, weight: Tensor, bias: Tensor, classes: Sequence[str], problem: str
) -> LibraryHead | None:
    """The head [C, D], [C] on the embedding of a network; None where its library has no classifier of that kind.

    `problem` is what the outputs are, as transformers calls it.
    """
    encoder = copy.deepcopy(encoder).cpu()
    kinds = _of_transformers if "type" in encoder.foreign.facts else _of_timm
    for found, head in kinds(encoder, classes, problem):
        if _fill(found.model, head, encoder, weight.cpu(), bias.cpu()):
            return found
    return None


@torch.no_grad()
def _fill(model: nn.Module, head: Any, encoder: ForeignEncoder, weight: Tensor, bias: Tensor) -> bool:
    """Put a head into the linear layer of a model; False where that does not read the embedding."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, encoder.network.in_chans, *encoder.image_size, generator=generator)
    read: list[Tensor] = []
    if not isinstance(head, nn.Linear):
        return False
    with head.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0])):
        model.eval()(pixels)
    embedding, width = encoder.embedding(pixels), weight.shape[1]
    parts = read[0].split(width, dim=-1)
    for place, part in enumerate(parts):
        if part.shape == embedding.shape and float((part - embedding).abs().max()) <= CLOSE * embedding.abs().max():
            head.weight.zero_()[:, place * width : (place + 1) * width] = weight
            head.bias.copy_(bias)
            return True
    return False


def _of_timm(encoder: ForeignEncoder, classes: Sequence[str], problem: str) -> Iterator[tuple[LibraryHead, Any]]:
    facts, state = encoder.foreign.facts, encoder.foreign.model.state_dict()
    for changes in POOLED[encoder.pooling]:
        arguments = facts["arguments"] | {"img_size": list(encoder.image_size), "num_classes": len(classes)} | changes
        try:
            model: Any = timm.create(facts["architecture"], arguments)
            head = model.get_classifier()
            name = next(name for name, module in model.named_modules() if module is head)
            model.load_state_dict(state | _tensors(head, name))
        except Exception:  # the library's code, on arguments that do not fit together
            continue
        yield _timm_folder(encoder, model, name, arguments, list(classes)), head


def _timm_folder(
    encoder: ForeignEncoder, model: Any, name: str, arguments: dict[str, Any], classes: list[str]
) -> LibraryHead:
    def write(folder: Path) -> None:
        config = timm_config(_source(encoder), model.num_features)
        config["pretrained_cfg"] |= {"num_classes": len(classes), "classifier": name}
        config |= {"num_classes": len(classes), "label_names": classes}
        write_json(folder / "config.json", config | {"model_args": arguments})
        save_tensors(model.state_dict(), folder / "model.safetensors")

    return LibraryHead("timm", model, StoredTensors(head=f"{name}."), write)


def _of_transformers(
    encoder: ForeignEncoder, classes: Sequence[str], problem: str
) -> Iterator[tuple[LibraryHead, Any]]:
    facts = encoder.foreign.facts
    names = require("transformers.models.auto.modeling_auto", "hf").MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
    found = names.get(facts["type"], ())
    how = {"id2label": dict(enumerate(classes)), "problem_type": problem}
    how |= {"label2id": {name: number for number, name in enumerate(classes)}}
    for name in [found] if isinstance(found, str) else found:
        try:
            config = transformers.config_class(facts["type"])(**facts["config"], **how)
            model = getattr(require("transformers", "hf"), name)(config)
            getattr(model, model.base_model_prefix).load_state_dict(encoder.foreign.model.state_dict())
            head = model.classifier
        except Exception:  # the library's code, which may have a network of another shape for classes
            continue
        yield _transformers_folder(encoder, model), head


def _transformers_folder(encoder: ForeignEncoder, model: Any) -> LibraryHead:
    def write(folder: Path) -> None:
        with transformers.quiet():
            model.save_pretrained(folder)
        write_json(folder / FILE, preprocessor(encoder.frame, encoder.mean, encoder.std))

    stored = StoredTensors(prefix=f"{model.base_model_prefix}.", head="classifier.")
    return LibraryHead("transformers", model, stored, write)


def _tensors(module: nn.Module, name: str) -> State:
    return {f"{name}.{key}": value for key, value in module.state_dict().items()}


def _source(encoder: ForeignEncoder) -> ForeignSource:
    how = encoder.frame, encoder.mean, encoder.std, encoder.licence
    return ForeignSource(encoder.name, encoder.foreign, *how)
