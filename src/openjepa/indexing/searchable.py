"""The images of an index: searched, filtered, and their columns read."""

import hashlib
import io
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from PIL import Image
from torch import Tensor

from openjepa.data.crops import Box, size_of
from openjepa.data.decoding.pixel_format import RGB
from openjepa.data.decoding.read import read_pixels
from openjepa.data.named_images import index_of
from openjepa.encoder.encode import encoded, read_bytes, read_file
from openjepa.encoder.features import Model
from openjepa.encoder.given_images import as_read
from openjepa.errors import BadImage, UsageError
from openjepa.files import file_hash
from openjepa.indexing.facts import THUMBNAIL, appearance
from openjepa.indexing.filters import as_sql
from openjepa.indexing.open import model_of, name_of_model
from openjepa.indexing.patch_tokens import tokens_of
from openjepa.indexing.regions import BOX, Region, Regions, box_of, region_of
from openjepa.indexing.store import AGAIN, About, Store
from openjepa.indexing.vectors import Vectors, best
from openjepa.runs.checkpoints import Step

Query = str | os.PathLike[str] | int | bytes | Image.Image | np.ndarray
FACTS = ("folder", "width", "height", "bytes", "captured", "brightness", "contrast", "sharpness")
HASHES = ("content_hash", "pixel_hash")
MOST = 1_000_000


class Searchable:
    """The images of an index as they were when it was opened; safe to use while the index is brought up to date.

    `model` names the model's folder where it has moved; it is opened only for images that the index does not have.
    """

    def __init__(self, folder: Path, model: str | None = None, device: str = "auto", precision: str = "auto") -> None:
        self.folder = folder
        self._store = Store.open(folder)
        self._opening = model, device, precision

    def __len__(self) -> int:
        return self.vectors.count

    def __repr__(self) -> str:
        return f"{type(self).__name__}({os.fspath(self.folder)!r}, {len(self):,} images)"

    @property
    def about(self) -> About:
        """What it is of: the model, its hash, the source, the version."""
        return self._store.about

    @property
    def labels(self) -> list[str]:
        """The names of the columns of labels."""
        return [*self._store.labels]

    @cached_property
    def vectors(self) -> Vectors:
        """Whitened, so that nearest neighbours are more often of the same class."""
        return Vectors(self._store)

    @cached_property
    def plain_vectors(self) -> Vectors:
        """As the model gives them, which keeps copies closer together."""
        return Vectors(self._store, whiten=False)

    @cached_property
    def paths(self) -> pa.Array:
        """The paths of the images, in stored order. Raises UsageError where an image has none."""
        return self.column("path").combine_chunks()

    @cached_property
    def _row_ids(self) -> np.ndarray:
        return self._store.row_ids()

    @cached_property
    def model(self) -> Model:
        """Raises UsageError where it cannot be opened, or is another one now."""
        moved, device, precision = self._opening
        return model_of(self._store, moved, device, precision)

    @property
    def model_name(self) -> tuple[str, Step]:
        """Where its model is now, and of which step of its run it is."""
        return name_of_model(self._store, self._opening[0])

    @property
    def columns(self) -> dict[str, pa.DataType]:
        """The columns that conditions can name, with their types."""
        kinds = {field.name: field.type for field in self._store.table.schema}
        return {name: kinds[name] for name in ("path", *FACTS, *HASHES, *self.labels)}

    def search(
        self,
        image: Query | None = None,
        *,
        like: Sequence[Query] = (),
        unlike: Sequence[Query] = (),
        where: str | None = None,
        top: int = 20,
        box: Box | None = None,
    ) -> pa.Table:
        """The images most similar to some, best first; with `box` those that show what is in a box of `image`.

        An image is a file, the path of one in the index (or enough of its end), its place in the index (from 0), the
        bytes of a file, a PIL image or an array [H, W, C].
        Images rank by their mean cosine to `image` and `like`, less that to `unlike`; where
        vectors can be whitened (`Whitening.fit`), by the cosine of whitened ones. Images of the index that are
        asked with are not among the results. `where` is a condition such as "width >= 640 and class = 'cat'".

        Returns a table: path, cosine (mean, to `image` and `like`), percentile (the percentage of all pairs of images
        with a lower cosine; of a large index, of the pairs of 1,500 of its images), score where `unlike` is given, and
        what the index knows of the images. Raises UsageError.

        box: (left, top, right, bottom) in pixels of the upright image; it needs patch tokens in the index. The table
        has then, in place of percentile and score, the box x0, y0, x1, y1 in pixels of each result that is most similar
        to it; cosine is the mean over the patches in `box` of that to the best patch of the result, both
        whitened (docs/collections.md).
        """
        places, found = self.nearest(image, like=like, unlike=unlike, where=where, top=top, box=box)
        found = {"path": self.paths.take(pa.array(places)), **found}
        facts = self.rows_at(places, (*FACTS, *self.labels))
        return pa.table(found | {name: facts[name] for name in facts.column_names if name not in found})

    def nearest(
        self,
        image: Query | None = None,
        *,
        like: Sequence[Query] = (),
        unlike: Sequence[Query] = (),
        where: str | None = None,
        top: int = 20,
        box: Box | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """`search` without the facts: the places of the results, and their columns cosine and so on."""
        check_top(top)
        if box is not None:
            if image is None or like or unlike:
                raise UsageError("--box is a part of one image: give that image, without --like and --unlike")
            return self._nearest_regions(image, box, self.rows_where(where), top)
        asked = [*([] if image is None else [image]), *like]
        if not asked:
            raise UsageError("nothing to search for: give an image, or some with --like")
        wanted, against = [self._resolved(each) for each in asked], [self._resolved(each) for each in unlike]
        allowed = self.rows_where(where)
        allowed[[row for row, _ in wanted + against if row is not None]] = False
        towards, away = (torch.stack([v for _, v in each]) if each else torch.empty(0) for each in (wanted, against))
        places, cosines, scores = best(self.vectors, towards, away, top, allowed)
        found = {"cosine": cosines.numpy(), "percentile": self.vectors.percentile(cosines).numpy()}
        found |= {"score": scores.numpy()} if against else {}
        return places, found

    @property
    def has_patches(self) -> bool:
        """Whether it keeps patch tokens."""
        return self._store.patches is not None

    @cached_property
    def regions(self) -> Regions:
        """Its patch tokens. Raises UsageError for an index without."""
        if (grid := self._store.patches) is None:
            raise UsageError(
                f"{self.folder} has no patch tokens, which --box needs: give openjepa index {self.about.model} "
                f"{self.about.source} --out {self.folder} --patches"
            )
        return Regions(self._store, self._row_ids, grid)

    def region(self, image: Query, box: Box) -> tuple[int | None, Region]:
        """The place of an image where it is one of the index, and what a box of it shows. Raises UsageError."""
        own, size, tokens = self.tokens_of(image)
        return own, region_of(tokens, box, size, self.regions.grid, name_of(image) or "the image")

    def tokens_of(self, image: Query) -> tuple[int | None, tuple[int, int], Tensor]:
        """The place of an image where it is one of the index, its (width, height), and its unit tokens [N, D]."""
        own, known = self._places_of(image)
        if known is not None:
            return own, self.sizes_at([known])[0], self.regions.stored(np.array([known]))[0]
        (pixels,) = as_read(self._pixels(image), self.model.pixel_format or RGB)
        return own, size_of(pixels), tokens_of(self.model, pixels, self.regions.grid)

    def _nearest_regions(
        self, image: Query, box: Box, allowed: np.ndarray, top: int
    ) -> tuple[np.ndarray, dict[str, Any]]:
        own, region = self.region(image, box)
        if own is not None:
            allowed[own] = False
        places, cosines, windows = self.regions.best(region, allowed, top)
        named = zip(windows, self.sizes_at(places), strict=True)
        boxes = [box_of(window, size, self.regions.grid) for window, size in named]
        sides = {name: pa.array([one[side] for one in boxes], pa.int32()) for side, name in enumerate(BOX)}
        return places, {"cosine": cosines.numpy(), **sides}

    def rows_where(self, where: str | None) -> np.ndarray:
        """Which images a condition holds for: bool [n]; all without one. Raises UsageError."""
        if where is None:
            return np.ones(len(self), bool)
        return np.isin(self._row_ids, self._store.row_ids(as_sql(where, self.columns)))

    def rows_at(self, places: Sequence[int] | np.ndarray, columns: Sequence[str]) -> pa.Table:
        """Columns of the images at some places, in their order."""
        return self._store.take(self._row_ids[np.asarray(places, np.int64)].tolist(), columns)

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of all images, in stored order. Raises UsageError where an image lacks a value."""
        found = self._store.read([name])[name]
        if found.null_count:
            raise UsageError(f"{self.folder} is damaged: {name} is missing of {found.null_count:,} images: {AGAIN}")
        return found

    def values(self, name: str) -> pa.Array:
        """A column of all images, in stored order, with nulls where an image lacks a value."""
        return self._store.read([name])[name].combine_chunks()

    def sizes_at(self, places: Sequence[int] | np.ndarray) -> list[tuple[int, int]]:
        """(width, height) of the images at some places. Raises UsageError where they are none."""
        rows = self.rows_at(places, ["width", "height"]).to_pylist()
        found = [(row["width"] or 0, row["height"] or 0) for row in rows]
        if any(min(size) < 1 for size in found):
            raise UsageError(f"{self.folder} is damaged: an image has no width or height: {AGAIN}")
        return found

    def sizes(self) -> list[int | None]:
        """The bytes of the files, None of images that are no files, in stored order."""
        return self._store.read(["bytes"])["bytes"].to_pylist()

    def place_of(self, name: str) -> int:
        """The place of an image by its path, or by enough of its end. Raises UsageError."""
        found = pc.index(self.paths, name).as_py()
        return (
            found
            if found >= 0
            else index_of(self.paths.to_pylist(), name, f"{name} is not a file, and", str(self.folder))
        )

    def pictures_at(self, places: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """The thumbnails of the images at some places: uint8 [H, W, 3] each."""
        return [picture_of(each) for each in self.rows_at(places, ["thumbnail"])["thumbnail"].to_pylist()]

    def picture_of(self, image: Query) -> np.ndarray:
        """The thumbnail of an image that `search` takes."""
        name = name_of(image)
        if isinstance(image, int) or (name is not None and not os.path.isfile(name)):
            return self.pictures_at([image if isinstance(image, int) else self.place_of(name or "")])[0]
        return picture_of(appearance(self._pixels(image))["thumbnail"])

    def _resolved(self, image: Query) -> tuple[int | None, Tensor]:
        """The place of an image where it is one of the index, and its vector [D]."""
        own, known = self._places_of(image)
        return own, self.vectors.at([known])[0] if known is not None else self._embedded(self._pixels(image))

    def _places_of(self, image: Query) -> tuple[int | None, int | None]:
        """The place of an image where it is one of the index, and that of one with the same content."""
        name = name_of(image)
        if isinstance(image, int) or (name is not None and not os.path.isfile(name)):
            place = self._checked(image) if isinstance(image, int) else self.place_of(name or "")
            return place, place
        if isinstance(image, bytes):
            same = self._of_content(hashlib.sha256(image).hexdigest())
            return None, pc.index(self.paths, same[0]).as_py() if same else None
        if name is None or not (same := self._of_content(_digest(name))):
            return None, None
        own = next((path for path in same if os.path.abspath(name) == os.path.join(self.about.source, path)), None)
        known: int = pc.index(self.paths, own or same[0]).as_py()
        return known if own else None, known

    def _checked(self, place: int) -> int:
        if not 0 <= place < len(self):
            raise UsageError(f"there is no image {place}: {self.folder} holds {len(self):,}, numbered from 0")
        return place

    def _of_content(self, digest: str) -> list[str]:
        """The paths of the images whose file has a hash."""
        return self._store.read(["path"], f"content_hash = '{digest}'")["path"].to_pylist()

    def _pixels(self, image: Query) -> Image.Image | np.ndarray:
        if isinstance(image, str | os.PathLike):
            return read_file(image, self.model.pixel_format or RGB)
        assert not isinstance(image, int), "an image of the index is known by its vector"
        return read_bytes(image, self.model.pixel_format or RGB) if isinstance(image, bytes) else image

    def embedding(self, image: Query) -> np.ndarray:
        """The vector of an image as the model gives it, float32 [D]; it need not be of the index. Raises UsageError."""
        _, known = self._places_of(image)
        if known is not None:
            return np.asarray(self.rows_at([known], ["vector"])["vector"][0].values, np.float32)
        return encoded(self.model, self._pixels(image)).astype(np.float32)

    def _embedded(self, image: Image.Image | np.ndarray) -> Tensor:
        return self.vectors.unit(torch.from_numpy(encoded(self.model, image)).half().float()[None])[0]


def name_of(image: Query) -> str | None:
    """The name of an image that is given by one."""
    return os.fspath(image) if isinstance(image, str | os.PathLike) else None


def check_top(top: int) -> None:
    """Raise UsageError unless so many results can be asked for."""
    if not 1 <= top <= MOST:
        raise UsageError(f"--top {top} is not possible: give 1 to {MOST:,}")


def _digest(name: str) -> str:
    try:
        return file_hash(Path(name))
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror or error}") from error


def picture_of(thumbnail: bytes | None) -> np.ndarray:
    """A stored thumbnail as uint8 [H, W, 3]; grey where it is damaged."""
    try:
        return np.asarray(read_pixels(io.BytesIO(thumbnail or b"")))
    except BadImage:
        return np.full((THUMBNAIL, THUMBNAIL, 3), 128, np.uint8)
