"""An index or a model as the server has it: opened once, and what takes long computed once, in threads of its own."""

import secrets
import threading
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor
from torch.nn.functional import normalize

from openjepa.data.crops import size_of
from openjepa.data.decoding.pixel_format import RGB, Pixels
from openjepa.encoder.encode import encoded, read_bytes
from openjepa.encoder.features import Model
from openjepa.errors import UsageError
from openjepa.exploring.anomalies.detection import Detecting
from openjepa.exploring.anomalies.images import ModelImages
from openjepa.exploring.anomalies.prediction import Predicting
from openjepa.exploring.coordinates import best_method, coordinates, stored_coordinates
from openjepa.exploring.once import Once
from openjepa.exploring.originals import Originals
from openjepa.indexing.curation.clusters import Grouped, grouped
from openjepa.indexing.curation.duplicates import duplicates
from openjepa.indexing.curation.outliers import outlier_scores
from openjepa.indexing.index import Index
from openjepa.indexing.searchable import FACTS, HASHES
from openjepa.runs.checkpoints import is_run_folder
from openjepa.runs.listing import find_runs


class Refused(Exception):
    """A request that gets another status than 400, with the sentence that says why."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


UPLOADS = 16
CLUSTER, OUTLIER = "cluster", "outlier"
NAMED = 254  # categories that are named; all further ones are "other"
UNIQUE = 0.5  # a fraction of images: a label of more values than that, and than NAMED, is a text


class ModelHost:
    """A model without an index, as the server has it: it is asked about images that are sent. `dimensions` of a vector.

    slow  as that of a collection; nothing
    """

    def __init__(self, model: Model) -> None:
        self.model, self.page, self.slow = model, False, dict[str, Once]()
        channels = (model.pixel_format or RGB).channels
        self.dimensions: int = model.features(torch.zeros(1, channels, *model.image_size)).shape[1]

    def embedding(self, data: bytes) -> np.ndarray:
        """The vector [D] of an image file. Raises UsageError."""
        return encoded(self.model, read_bytes(data, self.model.pixel_format or RGB)).astype(np.float32)

    def unit(self, vectors: Tensor) -> Tensor:
        return normalize(vectors, dim=-1)


class Collection:
    """The images of an index, what was computed of them, and the images that were sent to search with.

    page       whether the page is served too
    searching  held by what computes with all vectors, which fills the processors anyway
    slow       by name: map, pca, clusters, outliers, duplicates
    detecting, predicting  what is odd beside images that are normal, and what the model expects
    """

    def __init__(self, index: Index, page: bool = True) -> None:
        self.index, self.page, self.opened = index, page, secrets.token_hex(4)
        self.searching, self._sending, self._decoding = threading.Lock(), threading.Lock(), threading.Lock()
        self.originals, self._images = Originals(index.about.source), ModelImages(index)
        self.detecting, self.predicting = Detecting(self._images), Predicting(self._images)
        self.method = best_method(len(index))
        self.slow = {
            "map": Once(lambda: coordinates(index, self.method)),
            "pca": Once(lambda: coordinates(index, "pca")),
            "clusters": Once(lambda: grouped(index)),
            "outliers": Once(lambda: outlier_scores(index)),
            "duplicates": Once(lambda: duplicates(index)),
        }
        self._uploads: OrderedDict[str, bytes] = OrderedDict()
        self._sent = 0
        self._patches: tuple[int | bytes, tuple[int, int], Tensor] | None = None
        self.paths, self.labels, self.kinds = index.paths, index.labels, index.columns
        index.rows_at([0], ["path"])  # so that what is read once is read before requests come

    @property
    def model(self) -> Model:
        """Raises UsageError where it cannot be opened."""
        return self._images.model

    @property
    def dimensions(self) -> int:
        return self.index.about.dimensions

    def embedding(self, data: bytes) -> np.ndarray:
        """The vector [D] of an image file, which need not be of the index. Raises UsageError."""
        return self.index.embedding(data)

    def unit(self, vectors: Tensor) -> Tensor:
        """Vectors [m, D] of the model as a search compares them: whitened, and of length 1."""
        return self.index.vectors.unit(vectors)

    @cached_property
    def map_is_stored(self) -> bool:
        """Whether the map was computed before, and is read from the folder of the index."""
        return stored_coordinates(self.index, self.method) is not None

    @property
    def grouped(self) -> Grouped:
        return self.slow["clusters"].get()

    @property
    def outlier_scores(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.slow["outliers"].get()

    @property
    def columns(self) -> list[str]:
        """Names of columns, the labels first, then those that are computed unless a label has their name."""
        computed = [name for name in (CLUSTER, OUTLIER) if name not in self.labels]
        return [*self.labels, *FACTS, *computed, "path", *HASHES]

    @cached_property
    def texts(self) -> frozenset[str]:
        """The columns of texts that have too many values to be categories."""
        most = max(NAMED, UNIQUE * len(self.index))
        some = [name for name in ("folder", *self.labels) if pa.types.is_string(self.kinds[name])]
        return frozenset(name for name in some if pc.count_distinct(self.index.values(name)).as_py() > most)

    def path_at(self, place: int) -> str:
        return self.paths[int(place)].as_py()

    def places_of(self, paths: Any) -> list[int]:
        """The places of some paths of the index."""
        return pc.index_in(paths, self.paths).to_pylist()

    def keep(self, data: bytes) -> str:
        """Keep a file that was sent, and forget the oldest of too many; gives its name."""
        with self._sending:
            self._sent += 1
            name = f"u{self._sent}"
            self._uploads[name] = data
            if len(self._uploads) > UPLOADS:
                self._uploads.popitem(last=False)
        return name

    def sent(self, name: str) -> bytes:
        """A file that was sent. Raises UsageError where it is gone."""
        with self._sending:
            if name not in self._uploads:
                raise UsageError(f"there is no upload {name[:20]}: the last {UPLOADS} are kept, send it again")
            return self._uploads[name]

    def sent_or_gone(self, name: str) -> bytes:
        """A file that was sent, named by a path. Raises Refused where it is gone."""
        try:
            return self.sent(name)
        except UsageError as error:
            raise Refused(404, str(error)) from error

    def patches_of(self, image: int | bytes) -> tuple[tuple[int, int], Tensor]:
        """(width, height) of an image, and its whitened tokens [N, W]; those of the last image are kept. UsageError."""
        with self.searching:
            if self._patches is None or self._patches[0] != image:
                _, size, tokens = self.index.tokens_of(image)
                self._patches = image, size, self.index.regions.whitened(tokens)
            return self._patches[1:]

    def decoded(self, data: bytes) -> Pixels:
        """A file that was sent, upright and in colour. Raises UsageError."""
        with self._decoding:
            return read_bytes(data)

    def size_of(self, image: int | bytes) -> tuple[int, int]:
        """(width, height) of an image of the index, or of a file that was sent. Raises UsageError."""
        return self.index.sizes_at([image])[0] if isinstance(image, int) else size_of(self.decoded(image))

    @cached_property
    def run(self) -> dict[str, Any] | None:
        """What the log of the run says that made the model; None where the model is no run."""
        folder = Path(self.index.about.model)
        if not folder.is_absolute() or not is_run_folder(folder):
            return None
        row = find_runs(folder)[0]
        return {name: row[name] for name in ("verdict", "rank", "knn", "linear", "done", "steps", "images")}
