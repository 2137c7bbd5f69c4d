"""A head for other libraries: what transformers makes of its folder, and an ONNX graph."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import frame_of
from openjepa.encoder.foreign import ForeignEncoder
from openjepa.errors import UsageError
from openjepa.files import write_json
from openjepa.interop.classifier import Classifier
from openjepa.interop.formats.onnx import trace
from openjepa.optional import require

GRAPH, FACTS = "classifier.onnx", "classifier.json"
CLOSE = 1e-3  # largest difference of outputs, beside their size
OUTPUT = "logits"  # as transformers calls it, also where they are numbers


class HeadGraph(nn.Module):
    """Pixels [B, C, H, W] float32, standardised, to logits or numbers [B, K]."""

    def __init__(self, encoder: Encoder, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(*weight.T.shape)
        self.head.load_state_dict({"weight": weight, "bias": bias})

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.head(self.encoder.embedding(pixel_values))


def graph_of(model: Classifier) -> HeadGraph:
    """On the CPU and in float32, as the weights are kept."""
    return HeadGraph(model.encoder, model.weight.cpu(), model.bias.cpu()).eval()


def write_onnx(folder: Path, model: Classifier) -> None:
    """classifier.onnx, any number of images at once, and classifier.json: names of outputs, preprocessing."""
    require("onnx", "onnx")
    encoder, frame = model.encoder, frame_of(model)
    try:
        trace(graph_of(model), encoder.network, folder / GRAPH, [OUTPUT])
    except Exception as error:  # the exporter, on code of another library
        reason = " ".join(str(error).split())[:150]
        raise UsageError(f"the network of {model.name} cannot be written as ONNX: {reason}") from error
    if isinstance(encoder, ForeignEncoder):
        _check_graph(folder, model)
    about: dict[str, Any] = {
        "input": "pixel_values",
        "output": OUTPUT,
        "problem_type": model.problem,
        "names": model.classes,
    }
    about |= {"image_size": frame.size, "max_stretch": frame.max_stretch, "mean": encoder.mean, "std": encoder.std}
    about |= {"pixel_format": vars(model.pixel_format), "licence": encoder.licence}
    write_json(folder / FACTS, about)


@torch.no_grad()
def _check_graph(folder: Path, model: Classifier) -> None:
    """Raise UsageError where a graph computes something else than the network, as for another number of images."""
    generator, shape = torch.Generator().manual_seed(0), (3, model.encoder.network.in_chans, *model.image_size)
    pixels = torch.randn(shape, generator=generator)
    ours = graph_of(model)(pixels)
    try:
        same = float((onnx_outputs(folder, pixels) - ours).abs().max()) <= CLOSE * float(ours.abs().max())
    except Exception:  # onnxruntime, on a graph that holds for other shapes alone
        same = False
    if not same:
        raise UsageError(f"the network of {model.name} cannot be written as ONNX: the graph computes something else")


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


@torch.no_grad()
def timm_outputs(folder: Path, pixels: Tensor) -> Tensor:
    """What timm makes of standardised pixels: logits or numbers [B, K]."""
    model = require("timm", "timm").create_model(f"local-dir:{folder.absolute()}", pretrained=True)
    outputs: Tensor = model.eval()(pixels)
    return outputs
