"""A transformer of scikit-learn from images to embeddings."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from openjepa.device import choose_device, choose_precision
from openjepa.encoder.encode import as_list, encoded
from openjepa.encoder.features import Model
from openjepa.runs.checkpoints import open_model_at


class ImageEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Embeddings of images by a trained encoder, for pipelines.

    model       what `openjepa embed` takes: a run, a model of timm or transformers, untrained:NAME, pixels; or an
                encoder that is loaded already
    batch_size  images at a time
    normalize   whether embeddings have length 1
    device, precision  as of `openjepa.load_encoder`

    X is a sequence of paths of image files, PIL images or arrays [H, W, C]; nothing is learned from it. `fit` opens
    the model, the attribute `model_`. `transform` gives float32 [n, D]. Raises UsageError for what is no image.

    >>> make_pipeline(ImageEmbedder("runs/photos"), LogisticRegression()).fit(paths, labels)
    """

    def __init__(
        self,
        model: Any = "pixels",
        *,
        batch_size: int = 32,
        normalize: bool = False,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        self.model = model
        self.batch_size = batch_size
        self.normalize = normalize
        self.device = device
        self.precision = precision

    def fit(self, X: Any, y: Any = None) -> "ImageEmbedder":
        """Open the model; X must hold an image that can be read."""
        self.model_: Model = self._opened()
        (first, *_), _ = as_list(X)
        self._n_features_out = len(encoded(self.model_, [first], 1)[0])
        return self

    def transform(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        images, _ = as_list(X)
        return encoded(self.model_, images, self.batch_size, normalize_embeddings=self.normalize)

    def _opened(self) -> Model:
        if not isinstance(self.model, str):
            return self.model
        where = choose_device(self.device)
        return open_model_at(self.model, None, where, choose_precision(self.precision, where))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = False, True
        tags.no_validation = True
        return tags
