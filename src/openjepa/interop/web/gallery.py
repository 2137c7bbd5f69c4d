"""The images that a page compares with: their names, thumbnails in one picture, and embeddings."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from openjepa.console import log
from openjepa.data.crops import as_picture, resize_centre_crop
from openjepa.data.dataset import sample_order
from openjepa.data.open import open_dataset
from openjepa.data.summary import inspect_dataset
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.whitening import Whitening
from openjepa.errors import BadImage, UsageError
from openjepa.files import write_json
from openjepa.rng import SAMPLES, generator

FACTS, NUMBERS, PICTURE = "gallery.json", "gallery.bin", "gallery.webp"
MOST = 400  # images; of more, as many at random
SIDE, COLUMNS, QUALITY = 144, 20, 82
BATCH = 64


def write_gallery(folder: Path, encoder: Encoder, data: str) -> int:
    """Write gallery.json, gallery.bin and gallery.webp of the images of a source; how many there are. UsageError.

    gallery.bin holds float32: where the embeddings are whitened, as `search` compares them, the mean [D] and the matrix
    [D, D] of that; then the embeddings [n, D].
    """
    dataset, _ = inspect_dataset(open_dataset(data), pixel_format=encoder.pixel_format)
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # by index: what the encoder sees, and the thumbnail
    for index in sample_order(dataset, generator(0, SAMPLES)).tolist():
        if len(found) == MOST:
            log(f"gallery: {MOST} of {len(dataset):,} images of {data}, at random")
            break
        with contextlib.suppress(BadImage):
            pixels = dataset.load(index)
            seen = resize_centre_crop(pixels, *encoder.frame)
            found[index] = seen, as_picture(resize_centre_crop(pixels, (SIDE, SIDE)))
    if not found:
        raise UsageError(f"no image of {data} can be read: give --gallery other images")
    crops, pictures = zip(*(found[index] for index in sorted(found)), strict=True)
    embeddings = torch.cat([encoder.features(part) for part in _batches(crops)])
    whitening = Whitening.fit(embeddings)
    _write_numbers(folder / NUMBERS, embeddings, whitening)
    _sheet(pictures).save(folder / PICTURE, quality=QUALITY)
    names = [dataset.paths[index] for index in sorted(found)]
    facts = {"images": names, "columns": COLUMNS, "width": embeddings.shape[1], "whitened": whitening is not None}
    write_json(folder / FACTS, facts)
    return len(found)


def _batches(crops: Sequence[np.ndarray]) -> tuple[Tensor, ...]:
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).split(BATCH)


def _write_numbers(path: Path, embeddings: Tensor, whitening: Whitening | None) -> None:
    parts = [whitening.mean, whitening.matrix, whitening(embeddings)] if whitening else [embeddings]
    path.write_bytes(b"".join(part.numpy().astype("<f4").tobytes() for part in parts))


def _sheet(pictures: Sequence[np.ndarray]) -> Image.Image:
    """Square pictures [SIDE, SIDE, 3] in one, COLUMNS in a row."""
    sheet = Image.new("RGB", (COLUMNS * SIDE, -(-len(pictures) // COLUMNS) * SIDE))
    for place, picture in enumerate(pictures):
        sheet.paste(Image.fromarray(picture), (place % COLUMNS * SIDE, place // COLUMNS * SIDE))
    return sheet
