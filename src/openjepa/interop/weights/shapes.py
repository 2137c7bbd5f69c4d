"""The shapes of networks, bounded before anything is built: a few numbers in a file cannot ask for all the memory."""

from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.errors import UsageError
from openjepa.safety.schema import Name, Schema, fitted

MOST_BLOCKS, WIDEST = 512, 16_384
MOST_CHANNELS = 4096
MOST_PIXELS = 2**26  # of an image, times its channels
MOST_PATCHES = 2**16
MOST_NUMBERS = 2**25  # in a table of positions
MOST_STEM = 2**26  # numbers in the weight of the patch embedding

Side = Annotated[int, Field(ge=1, le=2**16)]
Width = Annotated[int, Field(ge=4, le=WIDEST, multiple_of=4)]
Depth = Annotated[int, Field(ge=1, le=MOST_BLOCKS)]
Channels = Annotated[int, Field(ge=1, le=MOST_CHANNELS)]
Heads = Annotated[int, Field(ge=1, le=WIDEST)]
Ratio = Annotated[float, Field(gt=0, le=64)]
Eps = Annotated[float, Field(gt=0, le=0.1)]
Mean = Annotated[float, Field(ge=-1e30, le=1e30)]
Std = Annotated[float, Field(ge=1e-12, le=1e30)]
Stretch = Annotated[float, Field(ge=0, le=1e6)]
WeightInit = Literal["unit", "published"]


class EncoderShape(Schema):
    """The arguments of a VisionTransformer; those that older files do not state have defaults."""

    image_size: tuple[Side, Side]
    patch_size: Side
    in_chans: Channels
    embed_dim: Width
    depth: Depth
    num_heads: Heads
    mlp_ratio: Ratio
    weight_init: WeightInit = "unit"
    native_size: tuple[Side, Side] | None = None
    position_code: Literal["sincos", "table"] = "sincos"
    norm_eps: Eps = 1e-6

    @model_validator(mode="after")
    def _fits(self) -> Self:
        rows, columns = self.image_size
        pixels = rows * columns * self.in_chans
        if rows % self.patch_size or columns % self.patch_size:
            raise ValueError(f"patch size {self.patch_size} does not divide image size {rows}x{columns}")
        if pixels > MOST_PIXELS:
            raise ValueError(f"images of {rows}x{columns} px with {self.in_chans} channels are larger than supported")
        if self.embed_dim * self.in_chans * self.patch_size**2 > MOST_STEM:
            raise ValueError(f"patches of {self.patch_size} px with {self.in_chans} channels are larger than supported")
        _check_table(self.grid_size, self.embed_dim)
        _check_blocks(self.embed_dim, self.num_heads, self.mlp_ratio)
        return self

    @property
    def grid_size(self) -> tuple[int, int]:
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size


class PredictorShape(Schema):
    """The arguments of a Predictor."""

    grid_size: tuple[Side, Side]
    embed_dim: Width
    dim: Width
    depth: Depth
    num_heads: Heads
    mlp_ratio: Ratio = 4.0
    out_dim: Annotated[int, Field(ge=1, le=2**24)] | None = None
    weight_init: WeightInit = "unit"
    joint: bool = False
    native_size: tuple[Side, Side] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_table(self.grid_size, self.dim)
        _check_blocks(self.dim, self.num_heads, self.mlp_ratio)
        if self.dim * (self.out_dim or 1) > 2**28:
            raise ValueError(f"a predictor {self.dim} wide with {self.out_dim} outputs is larger than supported")
        return self

    @property
    def fits(self) -> tuple[tuple[int, int], int]:
        """The grid and width of the encoder that it belongs to."""
        return self.grid_size, self.embed_dim


class StoredPixelFormat(Schema):
    """The fields of a PixelFormat."""

    channels: Channels = 3
    values: Literal["uint8", "unit", "raw"] = "uint8"
    pages: Literal["first", "channels", "images"] = "first"


class Preprocessing(Schema):
    """How image files become the pixels of a network: `pixel_format` was called `reading` in older files.

    Files that state no `max_stretch` are of networks that see every image cropped to their proportions.
    """

    mean: Annotated[tuple[Mean, ...], Field(min_length=1, max_length=MOST_CHANNELS)]
    std: Annotated[tuple[Std, ...], Field(min_length=1, max_length=MOST_CHANNELS)]
    max_stretch: Stretch = 0.0
    stored: StoredPixelFormat | None = Field(None, validation_alias=AliasChoices("pixel_format", "reading"))

    def check_channels(self, channels: int) -> None:
        """Raise ValueError unless all of it is for images of so many channels."""
        if not len(self.mean) == len(self.std) == channels:
            raise ValueError(f"{len(self.mean)} means and {len(self.std)} stds do not fit {channels} channels")
        if self.stored and self.stored.channels != channels:
            raise ValueError(f"pixel_format has {self.stored.channels} channels and the encoder reads {channels}")

    def pixel_format(self, channels: int) -> PixelFormat:
        """8 bits where none is stored."""
        return PixelFormat(**self.stored.model_dump()) if self.stored else PixelFormat(channels)


class Origin(Schema):
    """Where imported weights come from; shown, never followed."""

    name: Name
    kind: Name
    licence: Name | None = None


class StoredTeacher(Schema):
    """The frozen target encoder of a run: its name, licence, a hash of its weights, its width and image size."""

    name: Name
    licence: Name | None = None
    weights: Name
    embed_dim: Annotated[int, Field(ge=1, le=2**20)]
    image_size: tuple[Side, Side]

    @property
    def about(self) -> dict[str, str | None]:
        """What artifacts and cards say of it."""
        return {"name": self.name, "licence": self.licence}


def encoder_arguments(arguments: dict[str, Any], what: str) -> dict[str, Any]:
    """The arguments of a VisionTransformer in their right types. Raises UsageError, naming `what`, if out of bounds."""
    return _arguments(EncoderShape, arguments, what)


def predictor_arguments(arguments: dict[str, Any], what: str) -> dict[str, Any]:
    """The arguments of a Predictor in their right types. Raises UsageError, naming `what`, if out of bounds."""
    return _arguments(PredictorShape, arguments, what)


def _arguments(shape: type[Schema], arguments: dict[str, Any], what: str) -> dict[str, Any]:
    try:
        return fitted(shape, arguments).model_dump()
    except ValueError as error:
        raise UsageError(f"{what} cannot be used: {error}") from error


def _check_table(grid_size: tuple[int, int], width: int) -> None:
    patches = grid_size[0] * grid_size[1]
    if patches > MOST_PATCHES or patches * width > MOST_NUMBERS:
        raise ValueError(f"a grid of {grid_size[0]}x{grid_size[1]} patches, {width} wide, is larger than supported")


def _check_blocks(width: int, num_heads: int, mlp_ratio: float) -> None:
    if width % num_heads:
        raise ValueError(f"{num_heads} heads do not divide a width of {width}")
    if round(width * mlp_ratio) < 1:
        raise ValueError(f"mlp_ratio {mlp_ratio:g} leaves nothing of a width of {width}")
