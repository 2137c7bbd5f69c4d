"""Densities equal Mahalanobis distances written from their definitions."""

import numpy as np
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from openjepa.anomaly.density import RIDGE, Moments, image_density, place_density


def normals(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    mixing = torch.randn(5, 8, 8, generator=generator)
    return torch.einsum("bnd,nde->bne", torch.randn(count, 5, 8, generator=generator), mixing) + 3


def test_distances_are_those_of_each_place_with_a_covariance_drawn_to_the_shared_one():
    images, moments = normals(30), Moments()
    for part in images.split(7):
        moments.add(part)
    found = place_density(moments).distances(images[:4])
    data = images.double().numpy()
    scatter = [np.cov(data[:, place].T, bias=True) * 30 for place in range(5)]
    shared = sum(scatter) / (5 * 29)
    for place in range(5):
        covariance = (scatter[place] + 8 * shared) / (29 + 8) + RIDGE * np.diag(shared).mean() * np.eye(8)
        mean, inverse = data[:, place].mean(0), np.linalg.inv(covariance)
        expected = [mahalanobis(data[image, place], mean, inverse) for image in range(4)]
        np.testing.assert_allclose(found[:, place], expected, rtol=1e-4)


def test_one_image_is_enough():
    image, moments = normals(1), Moments()
    moments.add(image)
    density = place_density(moments)
    assert density.distances(image).max() < 1e-5
    assert density.distances(image + 1).min() > 0.01


def test_the_density_of_whole_images_is_that_of_ledoit_and_wolf():
    images = normals(20)
    means = images.mean(dim=1)
    expected = LedoitWolf().fit(means.double().numpy()).mahalanobis(means.double().numpy()) ** 0.5
    np.testing.assert_allclose(image_density(means).distances(images), expected, rtol=1e-4)
