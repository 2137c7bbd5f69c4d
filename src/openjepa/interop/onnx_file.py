"""An encoder as an ONNX graph: pixels in, pooled embedding and patch tokens out, for any batch size."""

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from openjepa.core.vit import VisionTransformer
from openjepa.interop.artifact import write_json
from openjepa.interop.extras import require
from openjepa.interop.source import Source

NAMES = ("embedding", "patch_tokens")


class Graph(nn.Module):
    """Pixels [B, C, H, W] float32 to (embedding [B, D], patch_tokens [B, N, D]), float32 whatever is between."""

    def __init__(self, encoder: VisionTransformer, dtype: torch.dtype) -> None:
        super().__init__()
        self.encoder, self.dtype = encoder.to(dtype), dtype

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.encoder(pixel_values.to(self.dtype)).float()
        return tokens.mean(dim=1), tokens


def write_onnx(folder: Path, source: Source, which: str, half: bool = False):
    """encoder.onnx, weights beside it where they are large, and encoder.json with the preprocessing.

    The graph takes `pixel_values` [B, C, H, W], standardised, of the encoder's image size, any B.
    Returns what onnxruntime makes of pixels: patch tokens [B, N, D].
    """
    for module in ("onnx", "onnxscript"):
        require(module, "onnx")
    path, encoder = folder / "encoder.onnx", source.encoder(which)
    graph = Graph(_copy(encoder) if half else encoder, torch.float16 if half else torch.float32).eval()
    pixels = torch.zeros(2, encoder.in_chans, *encoder.image_size)
    batch = {"pixel_values": {0: torch.export.Dim("batch", min=1)}}
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            graph,
            (pixels,),
            path,
            dynamo=True,
            input_names=["pixel_values"],
            output_names=NAMES,
            dynamic_shapes=batch,
            external_data=_large(encoder, half),
        )
    about = {"image_size": encoder.image_size, "mean": source.mean, "std": source.std, "licence": source.licence}
    write_json(folder / "encoder.json", {**about, "input": "pixel_values", "outputs": NAMES, "half": half})
    return run_onnx(path)


def run_onnx(path: Path):
    """A function from pixels [B, C, H, W] float32 to (embedding, patch_tokens) by onnxruntime on the CPU."""
    session = require("onnxruntime", "onnx").InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(pixels: Tensor) -> tuple[Tensor, Tensor]:
        return tuple(map(torch.from_numpy, session.run(list(NAMES), {"pixel_values": pixels.numpy()})))

    return run


def _copy(encoder: VisionTransformer) -> VisionTransformer:
    import copy

    return copy.deepcopy(encoder)


def _large(encoder: VisionTransformer, half: bool) -> bool:
    """Whether the weights are too many for one protobuf message of 2 GiB, with room for the graph."""
    return sum(p.numel() for p in encoder.parameters()) * (2 if half else 4) > 1.5 * 2**30


@contextlib.contextmanager
def _quiet():
    """The exporter prints its progress and warns of what it replaces; the comparison says whether that went well."""
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
        yield
