"""An encoder as an ONNX graph: pixels in, pooled embedding and patch tokens out, for any batch size."""

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openjepa.files import write_json
from openjepa.interop.artifact import preprocessing
from openjepa.interop.formats.registry import Forward, Options
from openjepa.interop.loaded_weights import Source
from openjepa.models.protocol import PatchEncoder
from openjepa.optional import require

FILE, NAMES = "encoder.onnx", ("embedding", "patch_tokens")
Run = Callable[[Tensor], tuple[Tensor, Tensor]]


class Graph(nn.Module):
    """Pixels [B, C, H, W] float32 to (embedding [B, D], patch_tokens [B, N, D]), float32 whatever is between."""

    def __init__(self, encoder: PatchEncoder, dtype: torch.dtype) -> None:
        super().__init__()
        self.encoder, self.dtype = encoder.to(dtype), dtype

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.encoder(pixel_values.to(self.dtype)).float()
        return tokens.mean(dim=1), tokens


def write(folder: Path, source: Source, options: Options) -> None:
    """encoder.onnx, its weights in encoder.onnx.data where they are over 2 GiB, and encoder.json with preprocessing.

    The graph takes `pixel_values` [B, C, H, W], standardised, of the encoder's image size, any B.
    """
    about = {**preprocessing(source), "licence": source.licence}
    write_graph(folder, source.encoder(options.which), about, options.half)


def write_graph(folder: Path, encoder: PatchEncoder, about: dict[str, Any], half: bool) -> None:
    """The same of any encoder, `about` being its preprocessing and licence."""
    require("onnx", "onnx")
    graph = Graph(copy.deepcopy(encoder) if half else encoder, torch.float16 if half else torch.float32).eval()
    trace(graph, encoder, folder / FILE, NAMES)
    known = {"input": "pixel_values", "outputs": NAMES, "half": half}
    write_json(folder / "encoder.json", {"image_size": encoder.image_size, **about, **known})


def reopen(folder: Path, options: Options, source: Source) -> Forward:
    run = run_onnx(folder / FILE)
    return lambda pixels: run(pixels)[1]


def trace(graph: nn.Module, encoder: PatchEncoder, path: Path, outputs: Sequence[str]) -> None:
    """Write a graph of an encoder: `pixel_values` [B, C, H, W] to the named outputs, any B."""
    pixels = torch.zeros(2, encoder.in_chans, *encoder.image_size)
    axes = {name: {0: "batch"} for name in ("pixel_values", *outputs)}
    names: dict[str, Any] = {"input_names": ["pixel_values"], "output_names": list(outputs), "dynamic_axes": axes}
    # The comparison shows whether the tracing worked.
    with warnings.catch_warnings(action="ignore"), torch.no_grad(), _operations_of_onnx():
        # The tracing exporter: many times faster than the newer one, and needs no other library.
        torch.onnx.export(graph, (pixels,), str(path), dynamo=False, opset_version=18, **names)
    gather_weights(path)


@contextlib.contextmanager
def _operations_of_onnx() -> Iterator[None]:
    """Without the fused layers of `nn.TransformerEncoder` and the like, which the exporter does not know."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def gather_weights(path: Path) -> None:
    """Put the weights of a graph into one file beside it, where the exporter has left a file for each."""
    loose = [file for file in path.parent.iterdir() if file != path]
    if loose:
        onnx = require("onnx", "onnx")
        model = onnx.load(path)
        for file in loose:
            file.unlink()
        onnx.save_model(model, path, save_as_external_data=True, location=f"{path.name}.data")


def run_onnx(path: Path) -> Run:
    """A function from pixels [B, C, H, W] float32 to (embedding, patch_tokens) by onnxruntime on the CPU."""
    session = require("onnxruntime", "onnx").InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(pixels: Tensor) -> tuple[Tensor, Tensor]:
        embedding, tokens = session.run(list(NAMES), {"pixel_values": pixels.numpy()})
        return torch.from_numpy(embedding), torch.from_numpy(tokens)

    return run
