"""An index in use: `openjepa.open_index(path)`."""

import os
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from openjepa.files.path_arguments import checks_paths
from openjepa.indexing.curation.clusters import UNCERTAIN, clusters, sample
from openjepa.indexing.curation.duplicates import duplicates
from openjepa.indexing.curation.label_spreading import spread_labels
from openjepa.indexing.curation.outliers import outliers
from openjepa.indexing.curation.uncertain import sample_uncertain
from openjepa.indexing.searchable import Searchable


class Index(Searchable):
    """The images of an index as they were when it was opened; safe to use while the index is brought up to date.

    `model` names the model's folder where it has moved; it is opened only for images that the index does not have.
    """

    def duplicates(self, *, embedding: bool = False) -> pa.Table:
        """Groups of copies with their kinds, and which to keep: group, path, kind, of, cosine, width, height, bytes.

        With `embedding` also images that are near one another by their vectors alone.
        """
        return duplicates(self, embedding)

    def outliers(self, *, top: int = 50) -> pa.Table:
        """The images furthest from their neighbours, for how far these are from theirs: path, score, distance,
        neighbours."""
        return outliers(self, top)

    def clusters(self, *, count: int | None = None, seed: int = 0) -> pa.Table:
        """Every image with its cluster, by k-means: cluster, path, cosine, size, nearest."""
        return clusters(self, count, seed)

    def sample(
        self, count: int, *, by: str = "diverse", given: Mapping[str, str] | None = None, seed: int = 0
    ) -> pa.Table:
        """A few images that stand for all, `by` diverse or typical: rank, path, cosine.

        `by` uncertain those that labels `given` by path leave least certain: also label, confidence.
        """
        if by == UNCERTAIN:
            return sample_uncertain(self, count, given or {}, seed)
        return sample(self, count, by, seed)

    def spread_labels(self, given: Mapping[str, str], *, seed: int = 0) -> pa.Table:
        """Labels of all images from those of a few, `given` by path: path, given, label, confidence, disagrees."""
        return spread_labels(self, given, seed).table


@checks_paths
def open_index(
    path: str | os.PathLike[str], *, model: str | None = None, device: str = "auto", precision: str = "auto"
) -> Index:
    """An index that openjepa index wrote. Raises UsageError.

    `model` names its model where that has moved; `device` and `precision` are for images that are not in the index.
    """
    return Index(Path(path), model, device, precision)
