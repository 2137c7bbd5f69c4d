"""The formats of `openjepa export`: each is one module beside this one, and one entry here."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from torch import Tensor

    from openjepa.interop.loaded_weights import Source

Forward = Callable[["Tensor"], "Tensor"]  # pixels [B, C, H, W], standardised, to patch tokens [B, N, D]


@dataclass(frozen=True)
class Options:
    """What to write: the encoder `which` (target or context), the predictor too, weights in float16.

    Of a page: the images that it compares with, and where its runtime is copied from.
    """

    which: str = "target"
    with_predictor: bool = False
    half: bool = False
    gallery: str | None = None
    runtime: str | None = None


class Writer(Protocol):
    """What the module of a format offers. `openjepa.interop.formats.compare` compares what it gives with ours."""

    def write(self, folder: Path, source: "Source", options: Options) -> None:
        """Write a source into an empty folder. Raises OSError, or UsageError for what the format cannot hold."""
        ...

    def reopen(self, folder: Path, options: Options, source: "Source") -> Forward:
        """What the other library makes of the folder: pixels to patch tokens."""
        ...


@dataclass(frozen=True)
class Format:
    """An export format.

    help       who opens it, for --help and docs
    usage      code that opens it, for the model card; {name} is the folder or the name on the Hub, {heads} a number
    module     imported when it is used: help needs no other library
    library    the Hub's name of the library that opens it; "" if it knows none
    predictor  whether the predictor can be written too
    half       whether weights can be float16
    page       whether it is a page for a browser, with images and a runtime
    """

    name: str
    help: str
    usage: str
    module: str
    library: str = ""
    predictor: bool = True
    half: bool = False
    page: bool = False

    def writer(self) -> Writer:
        return cast(Writer, import_module(self.module))


_HERE = __name__.rpartition(".")[0]
_ABOVE = _HERE.rpartition(".")[0]

FORMATS = [
    Format(
        "hf",
        "transformers.AutoModel",
        'from transformers import AutoModel\n\nmodel = AutoModel.from_pretrained("{name}")\n'
        "embedding = model(**inputs).last_hidden_state.mean(dim=1)",
        f"{_HERE}.hf",
        library="transformers",
    ),
    Format(
        "timm",
        "timm.create_model",
        'import timm\n\nmodel = timm.create_model("local-dir:{name}", pretrained=True)\nembedding = model(pixels)',
        f"{_HERE}.timm",
        library="timm",
    ),
    Format(
        "safetensors",
        "any library, under timm's names",
        'from safetensors.torch import load_file\n\ntensors = load_file("{name}/encoder.safetensors")',
        f"{_HERE}.safetensors",
    ),
    Format(
        "onnx",
        "onnxruntime",
        'import onnxruntime\n\nsession = onnxruntime.InferenceSession("{name}/encoder.onnx")\n'
        'embedding, patch_tokens = session.run(None, {{"pixel_values": pixels}})',
        f"{_HERE}.onnx",
        predictor=False,
        half=True,
    ),
    Format(
        "official",
        "the published code",
        'import openjepa\n\nencoder = openjepa.load_encoder("{name}/checkpoint.pth.tar", num_heads={heads})',
        f"{_HERE}.official",
    ),
    Format(
        "sentence-transformers",
        "SentenceTransformer",
        "from PIL import Image\nfrom sentence_transformers import SentenceTransformer\n\n"
        'model = SentenceTransformer("{name}")\nembeddings = model.encode([Image.open("a.jpg"), Image.open("b.jpg")])',
        f"{_HERE}.sentence_transformers",
        library="sentence-transformers",
    ),
    Format(
        "mlflow",
        "mlflow.pyfunc",
        'import mlflow\n\nmodel = mlflow.pyfunc.load_model("{name}")\nembeddings = model.predict(["a.jpg", "b.jpg"])',
        f"{_HERE}.mlflow",
    ),
    Format(
        "web",
        "a browser: a demo page",
        'import onnxruntime\n\nsession = onnxruntime.InferenceSession("{name}/encoder-int8.onnx")\n'
        'embedding, patch_tokens = session.run(None, {{"pixel_values": pixels}})',
        f"{_ABOVE}.web.folder",
        predictor=False,
        page=True,
    ),
]
HUB = "hub:OWNER/NAME"


def known() -> str:
    """The formats with who opens each, for help."""
    return ", ".join(f"{each.name} ({each.help})" for each in FORMATS) + f", or {HUB} (hf, pushed to the Hub)"
