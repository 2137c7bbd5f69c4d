"""A folder that mlflow.pyfunc.load_model opens: that of hf, and a file that names this module to load it with.

Nothing is pickled: openjepa must be installed where the folder is opened.
"""

import platform
from pathlib import Path
from typing import Any

import numpy as np

from openjepa._version import __version__
from openjepa.data.decoding.pixel_format import Pixels
from openjepa.encoder.encode import encoded, read_bytes
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError
from openjepa.files import write_text
from openjepa.interop.formats import hf
from openjepa.interop.formats.registry import Forward, Options
from openjepa.interop.load import load_encoder
from openjepa.interop.loaded_weights import Source
from openjepa.optional import require

FILE, REQUIREMENTS, PYTHON = "MLmodel", "requirements.txt", "python_env.yaml"


class Embedder:
    """What `predict` of the opened folder calls."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> np.ndarray:
        """Embeddings [n, D] float32 of paths or bytes of image files, PIL images or arrays; of one, [1, D].

        They are a list, an array, a Series, or the only column of a DataFrame. Raises UsageError.
        """
        images = listed(model_input)
        if isinstance(images, list):
            images = [self._read(one) if isinstance(one, bytes | bytearray) else one for one in images]
        return np.atleast_2d(encoded(self.encoder, images))

    def _read(self, data: bytes | bytearray) -> Pixels:
        return read_bytes(bytes(data), self.encoder.pixel_format)

    def get_raw_model(self) -> Encoder:
        """The encoder, as the opened model's own `get_raw_model` gives it."""
        return self.encoder


def listed(given: Any) -> Any:
    """What `predict` was given, as `Encoder.encode` takes it, or a list in which there may be bytes. UsageError."""
    if isinstance(given, bytes | bytearray):
        return [given]
    if hasattr(given, "columns"):
        if len(given.columns) != 1:
            raise UsageError(f"a DataFrame of {len(given.columns)} columns: give one, of paths or bytes of images")
        given = given.iloc[:, 0]
    if hasattr(given, "to_numpy"):
        given = given.to_numpy()
    if isinstance(given, np.ndarray) and given.dtype.kind in "OSU":
        return given.ravel().tolist()
    return [*given] if isinstance(given, list | tuple) else given


def _load_pyfunc(path: str) -> Embedder:
    """What mlflow calls with the folder."""
    return Embedder(load_encoder(path))


def write(folder: Path, source: Source, options: Options) -> None:
    """MLmodel and what it takes to install, beside the folder of hf. Raises UsageError without mlflow."""
    models, pyfunc = require("mlflow.models", "mlflow"), require("mlflow.pyfunc", "mlflow")
    hf.write(folder, source, options)
    model = models.Model()
    pyfunc.add_to_model(model, loader_module=__name__, python_env=PYTHON)
    model.save(str(folder / FILE))
    write_text(folder / REQUIREMENTS, f"openjepa=={__version__}\nmlflow=={require('mlflow', 'mlflow').__version__}\n")
    write_text(folder / PYTHON, f"python: {platform.python_version()}\ndependencies:\n- -r {REQUIREMENTS}\n")


def reopen(folder: Path, options: Options, source: Source) -> Forward:
    """What the encoder that mlflow opens makes of standardised pixels."""
    opened = require("mlflow.pyfunc", "mlflow").load_model(str(folder))
    return opened.get_raw_model().network
