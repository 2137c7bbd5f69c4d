"""A head for other libraries: what transformers makes of its folder, and an ONNX graph."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openjepa.encoder.features import frame_of
from openjepa.files import write_json
from openjepa.interop.classifier import Classifier
from openjepa.interop.formats.onnx import trace
from openjepa.models.vit import VisionTransformer
from openjepa.optional import require

GRAPH, FACTS = "classifier.onnx", "classifier.json"
OUTPUT = "logits"  # as transformers calls it, also where they are numbers


class HeadGraph(nn.Module):
    """Pixels [B, C, H, W] float32, standardised, to logits or numbers [B, K]."""

    def __init__(self, network: VisionTransformer, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.network, self.head = network, nn.Linear(*weight.T.shape)
        self.head.load_state_dict({"weight": weight, "bias": bias})

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.head(self.network(pixel_values).mean(dim=1))


def graph_of(model: Classifier) -> HeadGraph:
    """On the CPU and in float32, as the weights are kept."""
    return HeadGraph(model.encoder.vit, model.weight.cpu(), model.bias.cpu()).eval()


def write_onnx(folder: Path, model: Classifier) -> None:
    """classifier.onnx, any number of images at once, and classifier.json: names of outputs, preprocessing."""
    require("onnx", "onnx")
    encoder, frame = model.encoder, frame_of(model)
    trace(graph_of(model), encoder.vit, folder / GRAPH, [OUTPUT])
    about: dict[str, Any] = {
        "input": "pixel_values",
        "output": OUTPUT,
        "problem_type": model.problem,
        "names": model.classes,
    }
    about |= {"image_size": frame.size, "max_stretch": frame.max_stretch, "mean": encoder.mean, "std": encoder.std}
    about |= {"pixel_format": vars(model.pixel_format), "licence": encoder.licence}
    write_json(folder / FACTS, about)


def onnx_outputs(folder: Path, pixels: Tensor) -> Tensor:
    """What onnxruntime makes of standardised pixels [B, C, H, W]: logits or numbers [B, K]."""
    path = folder / GRAPH
    session = require("onnxruntime", "onnx").InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run([OUTPUT], {"pixel_values": pixels.numpy()})[0])


@torch.no_grad()
def hf_outputs(folder: Path, pixels: Tensor) -> Tensor:
    """What transformers makes of standardised pixels: logits or numbers [B, K]."""
    transformers = require("transformers", "hf")
    transformers.logging.disable_progress_bar()
    return transformers.AutoModelForImageClassification.from_pretrained(folder).eval()(pixels).logits
