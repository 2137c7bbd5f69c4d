"""Half whitening is what it says it is, and is left out where it cannot be told."""

import numpy as np
import pytest
import torch
from scipy.linalg import fractional_matrix_power
from sklearn.covariance import LedoitWolf

from openjepa.encoder import whitening
from openjepa.encoder.whitening import Whitening


@pytest.fixture
def embeddings():
    random = np.random.default_rng(0)
    rows = random.normal(size=(300, 12)) @ random.normal(size=(12, 12)) * np.linspace(0.1, 5, 12) + 7
    return torch.tensor(rows, dtype=torch.float32)


def test_equals_the_definition_by_scipy_and_scikit_learn(embeddings):
    rows = embeddings.double().numpy()
    expected = (rows - rows.mean(0)) @ fractional_matrix_power(LedoitWolf().fit(rows).covariance_, -0.25)
    assert np.allclose(Whitening.fit(embeddings)(embeddings), expected, atol=1e-4)


def test_fewer_images_than_numbers_are_enough(embeddings):
    wide = torch.randn(150, 400, generator=torch.Generator().manual_seed(0))
    assert Whitening.fit(wide)(wide).isfinite().all()


def test_is_left_out_where_it_cannot_be_told(embeddings, monkeypatch):
    assert Whitening.fit(embeddings[:99]) is None
    assert Whitening.fit(torch.ones(300, 12)) is None
    monkeypatch.setattr(whitening, "MOST_NUMBERS", 11)
    assert Whitening.fit(embeddings) is None


def test_rows_that_are_not_finite_do_not_count(embeddings):
    damaged = torch.cat([embeddings, torch.full((2, 12), torch.inf), torch.full((2, 12), torch.nan)])
    assert torch.allclose(Whitening.fit(damaged).matrix, Whitening.fit(embeddings).matrix, atol=1e-6)


def test_of_many_images_some_at_random_count(embeddings, monkeypatch):
    monkeypatch.setattr(whitening, "MOST_FITTED", 200)
    fitted = Whitening.fit(embeddings)
    assert torch.equal(fitted.matrix, Whitening.fit(embeddings).matrix)
    assert not torch.allclose(fitted.matrix, Whitening.fit(embeddings[:200]).matrix)
