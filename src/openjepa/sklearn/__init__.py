"""Encoders as steps of scikit-learn: `from openjepa.sklearn import ImageEmbedder`."""

from openjepa.sklearn.embedder import ImageEmbedder

__all__ = ["ImageEmbedder"]
