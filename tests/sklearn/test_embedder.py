"""`ImageEmbedder` keeps scikit-learn's rules: its checks where they need no table of numbers, the others on images."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

from openjepa.encoder.baselines import Pixels, seeded
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError
from openjepa.sklearn import ImageEmbedder

CHECKS = (
    "check_estimator_cloneable",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_mixin_order",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
)


@pytest.mark.parametrize("check", CHECKS)
def test_checks_of_scikit_learn(check):
    getattr(estimator_checks, check)("ImageEmbedder", ImageEmbedder())


@pytest.fixture
def paths(photos):
    return [str(path) for path in sorted(photos.rglob("*.jpg"))]


@pytest.fixture
def embedder():
    network = seeded(0, image_size=(16, 16), patch_size=8, embed_dim=24, depth=1, num_heads=2)
    return ImageEmbedder(Encoder(network, [0.5] * 3, [0.5] * 3), batch_size=5)


def test_fitting_changes_no_parameter_and_can_be_repeated(embedder, paths):
    before = embedder.get_params()
    assert embedder.fit(paths, y=[0] * len(paths)) is embedder and embedder.get_params() == before
    found = embedder.transform(paths)
    assert found.shape == (24, 24) and found.dtype == np.float32
    np.testing.assert_array_equal(embedder.fit_transform(np.array(paths)), found)
    np.testing.assert_array_equal(embedder.fit(paths[::-1]).transform(paths), found)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(embedder)).transform(paths), found)
    with pytest.raises(NotFittedError):
        clone(embedder).transform(paths)


def test_rows_depend_on_their_own_image_alone(embedder, paths):
    whole = embedder.fit(paths).transform(paths)
    order = np.random.default_rng(0).permutation(len(paths))
    np.testing.assert_allclose(embedder.transform([paths[i] for i in order]), whole[order], atol=1e-6)
    np.testing.assert_allclose(np.concatenate([embedder.transform([path]) for path in paths]), whole, atol=1e-6)


def test_names_of_features_and_data_frames(embedder, paths):
    names = [f"imageembedder{number}" for number in range(24)]
    assert embedder.fit(paths).get_feature_names_out().tolist() == names
    frame = embedder.set_output(transform="pandas").transform(paths)
    assert isinstance(frame, pd.DataFrame) and [*frame.columns] == names


def test_in_a_pipeline_and_a_grid_search(paths):
    labels = [path.split("/")[-2] for path in paths]
    pipeline = make_pipeline(ImageEmbedder("pixels", normalize=True), LogisticRegression(C=100))
    assert pipeline.fit(paths, labels).score(paths, labels) == 1
    search = GridSearchCV(pipeline, {"imageembedder__normalize": [False, True]}, cv=2).fit(paths, labels)
    assert isinstance(search.best_estimator_[0].model_, Pixels)


def test_what_is_wrong_is_said(paths):
    with pytest.raises(UsageError, match=r"vit_nanno is not known"):
        ImageEmbedder("untrained:vit_nanno").fit(paths)
    with pytest.raises(UsageError, match=r"nothing\.jpg cannot be read"):
        ImageEmbedder().fit(["nothing.jpg"])
