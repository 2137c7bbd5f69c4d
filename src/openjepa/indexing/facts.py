"""What an index keeps of an image beside its vector, found in the one pass in which it is read."""

import hashlib
import io
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from openjepa.data.crops import Frame, as_picture, resize_centre_crop, resized, size_of
from openjepa.data.dataset import ImageDataset, ImageFiles
from openjepa.data.decoding.capture_time import capture_time
from openjepa.data.decoding.pixel_format import Pixels
from openjepa.encoder.features import Skipped
from openjepa.errors import BadImage
from openjepa.indexing.store import GREY_SIDE

CHUNK = 256  # images that are embedded together: fixed places, so that a run that goes on embeds the same ones
LOOKED_AT, THUMBNAIL = 256, 96  # pixels of the longer side, at most
QUALITY, EFFORT = 80, 1  # of WebP


class Seen(NamedTuple):
    """Images of a chunk, as far as they are new or have changed.

    crops      [b, C, H, W] as the model reads them
    indices    [b], of the dataset
    facts      [b], the columns of their rows but path, folder, labels, stamp and vector
    unchanged  indices of images whose content is that which is known
    skipped    (path, reason)
    """

    crops: Tensor
    indices: list[int]
    facts: list[dict[str, Any]]
    unchanged: list[int]
    skipped: Skipped


class Looks(Dataset):
    """Chunks by their numbers: chunk k holds the `wanted` indices from k * CHUNK to below (k + 1) * CHUNK.

    known   the content hashes of images that may be as they were, by index
    """

    def __init__(self, dataset: ImageDataset, frame: Frame, wanted: np.ndarray, known: Mapping[int, str]) -> None:
        self.dataset, self.frame, self.wanted, self.known = dataset, frame, wanted, known

    def __getitem__(self, chunk: int) -> Seen:
        edges = np.searchsorted(self.wanted, [chunk * CHUNK, (chunk + 1) * CHUNK])
        pixel_format = self.dataset.pixel_format
        crops = [np.empty((0, *self.frame.size, pixel_format.channels), pixel_format.dtype)]
        seen = Seen(torch.empty(0), [], [], [], [])
        for index in self.wanted[slice(*edges)].tolist():
            try:
                found = look(self.dataset, index, self.known.get(index))
            except BadImage as error:
                seen.skipped.append((self.dataset.paths[index], str(error)))
                continue
            if found is None:
                seen.unchanged.append(index)
            else:
                crops.append(resize_centre_crop(found[0], *self.frame)[None])
                seen.indices.append(index)
                seen.facts.append(found[1])
        return seen._replace(crops=torch.from_numpy(np.concatenate(crops)).permute(0, 3, 1, 2))


def look(dataset: ImageDataset, index: int, known: str | None = None) -> tuple[Pixels, dict[str, Any]] | None:
    """An image with what an index keeps of it; None where its content hash is the one that is `known`. BadImage."""
    data = dataset.read(index) if isinstance(dataset, ImageFiles) and not dataset.pages[index] else None
    if isinstance(dataset, ImageFiles):
        digest = hashlib.sha256(data).digest() if data is not None else dataset.digest(index)
        if digest.hex() == known:
            return None
    image = dataset.load(index) if data is None else dataset.decode(index, data)  # type: ignore[attr-defined]
    pixels = hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()
    if not isinstance(dataset, ImageFiles) and pixels == known:
        return None
    content = digest.hex() if isinstance(dataset, ImageFiles) else pixels
    width, height = size_of(image)
    size = len(data) if data is not None else dataset.stamp(index)[0] if isinstance(dataset, ImageFiles) else None
    taken: datetime | None = capture_time(data) if data is not None else None
    facts = {"width": width, "height": height, "bytes": size, "captured": taken}
    return image, facts | {"content_hash": content, "pixel_hash": pixels} | appearance(image)


def appearance(image: Pixels) -> dict[str, Any]:
    """The thumbnails of an image, and how bright, contrasting and sharp it is.

    brightness  mean of the grey values, 0 to 1; contrast is their standard deviation
    sharpness   variance of their Laplacian in levels of 255, at 256 px of the longer side at most (Pech-Pacheco et
                al. 2000, "Diatom autofocusing in brightfield microscopy")
    """
    small = as_picture(resized(image, _fitted(*size_of(image), LOOKED_AT), (0, 0, *size_of(image))))
    grey = small.mean(axis=2, dtype=np.float32)
    around = np.pad(grey, 1, mode="edge")
    laplacian = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:] - 4 * grey
    picture = Image.fromarray(small)
    stream = io.BytesIO()
    thumbnail = picture.resize(_fitted(*picture.size, THUMBNAIL)[::-1], Image.Resampling.BICUBIC)
    thumbnail.save(stream, "WEBP", quality=QUALITY, method=EFFORT)
    tiny = resize_centre_crop(picture, (GREY_SIDE, GREY_SIDE), math.inf).mean(axis=2).round().astype(np.uint8)
    return {
        "brightness": float(grey.mean()) / 255,
        "contrast": float(grey.std()) / 255,
        "sharpness": float(laplacian.var()),
        "grey": tiny.tobytes(),
        "thumbnail": stream.getvalue(),
    }


def _fitted(width: int, height: int, most: int) -> tuple[int, int]:
    """(rows, columns) in the proportions of an image, none longer than `most`; no larger than the image."""
    factor = min(1.0, most / max(width, height))
    return max(1, round(height * factor)), max(1, round(width * factor))
