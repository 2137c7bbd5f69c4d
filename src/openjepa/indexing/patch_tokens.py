"""The patch tokens of the images of an index: made by its model, and kept as directions of 8 bits a number.

A token v is kept as round(127 v / max |v|), so that v / |v| is the stored numbers made a unit vector: cosines of tokens
need no scale, and change by less than about 0.01. Tokens of an image stand row by row from the top left.
"""

from typing import Annotated, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from openjepa.data.crops import Frame, resize_centre_crop
from openjepa.data.decoding.pixel_format import Pixels
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import Model
from openjepa.encoder.foreign import ForeignEncoder
from openjepa.errors import UsageError
from openjepa.safety.schema import PositiveInt, Schema, parse_json

PATCHES = "patches"  # the column
KEY = b"openjepa.patches"
MOST_BYTES, MOST_PATCHES = 2**26, 2**14  # of an image
LEVELS = 127
MOST_WIDTH = 4096
Side = Annotated[int, Field(ge=1, le=MOST_WIDTH)]


class PatchGrid(Schema):
    """What the patch tokens of an image are: `rows` x `columns` of `width` numbers, of what a `Frame` shows of it.

    image_size, max_stretch (None where every image is stretched), zoom: of that frame.
    """

    rows: Side
    columns: Side
    width: Side
    image_size: tuple[PositiveInt, PositiveInt]
    max_stretch: Annotated[float, Field(ge=0)] | None
    zoom: Annotated[float, Field(gt=0, le=1)]

    @property
    def size(self) -> int:
        """The bytes of an image."""
        return self.rows * self.columns * self.width

    @property
    def frame(self) -> Frame:
        return Frame(self.image_size, float("inf") if self.max_stretch is None else self.max_stretch, self.zoom)


class Outputs(NamedTuple):
    """What a model makes of b images: vectors float16 [b, D], and patch tokens int8 [b, N, D] where they are kept."""

    vectors: Tensor
    patches: Tensor | None

    def at(self, good: Tensor) -> "Outputs":
        return Outputs(self.vectors[good], None if self.patches is None else self.patches[good])


def grid_for(model: Model) -> PatchGrid:
    """What a model's patch tokens are. Raises UsageError for a model without."""
    encoder = with_tokens(model)
    (rows, columns), frame = encoder.grid_size, encoder.frame
    stretch = None if frame.max_stretch == float("inf") else frame.max_stretch
    width = encoder.tokens(torch.zeros(1, encoder.network.in_chans, *frame.size, dtype=torch.uint8)).shape[2]
    if rows * columns * width > MOST_BYTES or rows * columns > MOST_PATCHES or width > MOST_WIDTH:
        raise UsageError(f"{model.name} has {rows}x{columns} patch tokens of {width:,} numbers: too many for an index")
    size = frame.size[0], frame.size[1]
    return PatchGrid(rows=rows, columns=columns, width=width, image_size=size, max_stretch=stretch, zoom=frame.zoom)


def with_tokens(model: Model) -> Encoder:
    """A model that has patch tokens; raises UsageError for another."""
    if not isinstance(model, Encoder) or (isinstance(model, ForeignEncoder) and not model.has_tokens):
        raise UsageError(f"{model.name} has no patch tokens, only features of whole images: --patches needs another")
    return model


def field_of(patches: PatchGrid) -> pa.Field:
    """The column that holds patch tokens, with what they are in its metadata."""
    return pa.field(PATCHES, pa.binary(patches.size), metadata={KEY: patches.model_dump_json()})


def grid_of(field: pa.Field, where: str, what_to_do: str) -> PatchGrid:
    """What the patch tokens of a table are. Raises UsageError where the column is another than it says."""
    found = parse_json((field.metadata or {}).get(KEY, b""), PatchGrid, where, what_to_do)
    if found.size > MOST_BYTES or found.rows * found.columns > MOST_PATCHES or field.type != pa.binary(found.size):
        raise UsageError(f"{where} is damaged: its patch tokens are not {found.size:,} bytes an image: {what_to_do}")
    return found


def outputs(model: Model, crops: Tensor, patches: PatchGrid | None) -> Outputs:
    """What a model makes of crops [b, C, H, W]. A vector is not finite where a patch token is not."""
    if patches is None:
        return Outputs(model.features(crops).half(), None)
    encoder, parts = with_tokens(model), []
    with torch.inference_mode(), encoder.arithmetic():
        for part in encoder.parts(crops):
            vectors, tokens = encoder.embedding_and_tokens(encoder.standardised(part))
            lost = ~tokens.isfinite().flatten(1).all(dim=1)
            vectors = vectors.float().masked_fill(lost[:, None], torch.nan)
            parts.append((vectors.cpu().half(), quantised(tokens.float()).cpu()))
    return Outputs(torch.cat([vectors for vectors, _ in parts]), torch.cat([tokens for _, tokens in parts]))


def quantised(tokens: Tensor) -> Tensor:
    """Directions of tokens [..., D] as int8; 0 of one that is 0 or not finite."""
    tokens = tokens.nan_to_num(0, 0, 0)
    largest = tokens.abs().amax(dim=-1, keepdim=True)
    return (
        (tokens * (LEVELS / largest.clamp(min=torch.finfo(torch.float32).tiny))).round().clamp(-LEVELS, LEVELS).char()
    )


def as_column(tokens: Tensor) -> pa.Array:
    """Tokens int8 [b, N, D] as the column of a table."""
    flat = tokens.flatten(1).contiguous()
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(flat.shape[1]), len(flat), [None, pa.py_buffer(flat.numpy().data)]
    )


def as_tokens(column: pa.Array, patches: PatchGrid) -> Tensor:
    """A column without nulls as unit tokens: float32 [b, N, D]."""
    flat = np.frombuffer(column.buffers()[1] or b"", np.int8)[column.offset * patches.size :][
        : len(column) * patches.size
    ]
    return as_unit(torch.from_numpy(flat.reshape(len(column), -1, patches.width).astype(np.float32)))


def as_unit(tokens: Tensor) -> Tensor:
    """Tokens [..., D] as unit vectors, float32."""
    return normalize(tokens.float(), dim=-1)


def tokens_of(model: Model, pixels: Pixels, patches: PatchGrid) -> Tensor:
    """The unit tokens [N, D] of an image, as if they had been kept. Raises UsageError where they would be others."""
    crop = torch.from_numpy(np.array(resize_centre_crop(pixels, *model.frame))).permute(2, 0, 1)
    made = outputs(model, crop[None], patches).patches
    shape = with_tokens(model).grid_size, None if made is None else made.shape[2]
    if made is None or shape != ((patches.rows, patches.columns), patches.width):
        raise UsageError(f"the patch tokens of the index are not those of {model.name}: index the images again")
    return as_unit(made[0])
