"""Routes that need a model and no index: the embeddings of images that are sent, and how similar they are."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from openjepa.data.decoding.pixel_format import RGB, Pixels
from openjepa.encoder.encode import encoded, read_bytes
from openjepa.encoder.features import Model
from openjepa.errors import UsageError
from openjepa.exploring.route import Answer, Asked, Body, Content

MOST_IMAGES = 64
AT_ONCE = 8  # images that are decoded at a time
Given = Annotated[list[str], Field(min_length=1, max_length=MOST_IMAGES)]


class Host(Protocol):
    """What answers: an index, or a model alone."""

    @property
    def model(self) -> Model: ...

    @property
    def dimensions(self) -> int: ...

    def embedding(self, data: bytes) -> np.ndarray:
        """The vector [D] of an image file. Raises UsageError."""
        ...

    def unit(self, vectors: Tensor) -> Tensor:
        """Vectors [m, D] of the model as they are compared."""
        ...


class ModelAnswer(Answer):
    model: str
    dimensions: int
    image_size: tuple[int, int] = Field(description="rows and columns of pixels that the model sees")


class ImagesBody(Body):
    images: Given = Field(description="image files in Base64")


class SimilarityBody(ImagesBody):
    others: Given | None = Field(None, description="what they are compared with; left out, with each other")


class EmbeddingsAnswer(Answer):
    embeddings: list[list[float]]


class CosinesAnswer(Answer):
    cosines: list[list[float]] = Field(description="of each image a row, with the cosine to each other one")


def model(host: Host, _: Asked) -> Answer:
    rows, columns = host.model.image_size
    return ModelAnswer(model=host.model.name, dimensions=host.dimensions, image_size=(rows, columns))


def embedding(host: Host, asked: Asked) -> Content:
    if not asked.body:
        raise UsageError("the request has no image: send the bytes of a file as its body")
    return Content(host.embedding(asked.body).astype("<f4").tobytes())


def embed(host: Host, asked: Asked) -> Answer:
    wanted: ImagesBody = asked.body
    return EmbeddingsAnswer(embeddings=_embedded(host, "images", wanted.images).tolist())


def similarity(host: Host, asked: Asked) -> Answer:
    wanted: SimilarityBody = asked.body
    one = host.unit(_embedded(host, "images", wanted.images))
    other = one if wanted.others is None else host.unit(_embedded(host, "others", wanted.others))
    return CosinesAnswer(cosines=(one @ other.T).clamp(-1, 1).tolist())


def _embedded(host: Host, key: str, given: Sequence[str]) -> Tensor:
    """The vectors [m, D] of image files in Base64. Raises UsageError."""
    parts = [
        encoded(host.model, [_pixels(host.model, f"{key}[{start + row}]", text) for row, text in enumerate(part)])
        for start in range(0, len(given), AT_ONCE)
        for part in [given[start : start + AT_ONCE]]
    ]
    found = torch.from_numpy(np.concatenate(parts)).float()
    if not found.isfinite().all():
        raise UsageError(f"{host.model.name} gives numbers that are not finite: its weights are damaged")
    return found


def _pixels(model: Model, name: str, text: str) -> Pixels:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError(f"{name} is not Base64: give the bytes of an image file so") from error
    try:
        return read_bytes(data, model.pixel_format or RGB)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
