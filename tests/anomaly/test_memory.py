"""The memory gives the distances of its papers' rules, and stays within its bounds."""

import numpy as np
import torch
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from openjepa.anomaly.memory import Reservoir, greedy_subset, make_cell_memory, make_memory
from openjepa.anomaly.reading import Reading
from openjepa.anomaly.scorer import MemoryPart


def test_scores_are_those_of_anomalydino():
    """All patches are kept, unit vectors; the cosine distance to the nearest; an image is the mean of the top 1 %."""
    generator = torch.Generator().manual_seed(0)
    normal, test = (torch.randn(count, 300, 12, generator=generator) for count in (3, 2))
    memory = make_memory(normal.flatten(0, 1), torch.arange(3).repeat_interleave(300))
    found = MemoryPart(memory)(Reading(test, torch.zeros(2, 300, 0, 1), torch.zeros(2, 300)))
    for image, map_, score in zip(test, found.maps, found.images, strict=True):
        alike = torch.nn.functional.cosine_similarity(image[:, None], normal.flatten(0, 1)[None], dim=2)
        expected = 1 - alike.max(dim=1).values
        torch.testing.assert_close(map_, expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(score, expected.sort(descending=True).values[:3].mean(), atol=1e-5, rtol=0)


def test_an_image_is_not_compared_with_itself_where_it_is_left_out():
    features = torch.randn(4, 9, 8, generator=torch.Generator().manual_seed(1))
    memory = make_memory(features.flatten(0, 1), torch.arange(4).repeat_interleave(9))
    assert memory.distances(features).max() < 1e-5
    alone = memory.distances(features, without=torch.arange(4))
    others = make_memory(features[1:].flatten(0, 1), torch.arange(1, 4).repeat_interleave(9))
    torch.testing.assert_close(alone[0], others.distances(features[:1])[0])


def test_cells_are_as_far_as_their_scaled_principal_components():
    """Against scikit-learn's PCA; the oddest cell of a patch counts."""
    rng = np.random.default_rng(3)
    normal = rng.normal(size=(500, 20)) @ rng.normal(size=(20, 20)) + 5
    test = rng.normal(size=(2, 6, 3, 20)) * 4
    memory = make_cell_memory(torch.tensor(normal, dtype=torch.float32), 500)
    pca = PCA(16).fit(normal)
    scale = (pca.explained_variance_ * 499 / 500) ** 0.25
    known, shown = (pca.transform(part.reshape(-1, 20)) / scale for part in (normal, test))
    expected = cdist(shown, known).min(axis=1).reshape(2, 6, 3).max(axis=2)
    np.testing.assert_allclose(memory.distances(torch.tensor(test, dtype=torch.float32)), expected, rtol=1e-3)


def test_cells_of_one_colour_are_no_distance_apart():
    memory = make_cell_memory(torch.full((30, 12), 0.5))
    assert memory.distances(torch.full((1, 2, 4, 12), 0.5)).max() < 1e-5
    assert memory.distances(torch.full((1, 2, 4, 12), 0.6)).min() > 1


def test_the_greedy_subset_is_farthest_first():
    features = torch.randn(200, 6, generator=torch.Generator().manual_seed(2))
    chosen = greedy_subset(features, 20).tolist()
    for count in range(1, 20):
        nearest = torch.cdist(features, features[chosen[:count]]).min(dim=1).values
        assert int(nearest.argmax()) == chosen[count]
    gaps = [torch.cdist(features, features[part]).min(dim=1).values.max() for part in (chosen, list(range(20)))]
    assert gaps[0] < gaps[1]


def test_a_reservoir_is_bounded_and_takes_every_patch_with_the_same_chance():
    counts = np.zeros(400)
    for seed in range(100):
        reservoir = Reservoir(40, seed)
        for start in range(0, 400, 50):
            numbers = torch.arange(start, start + 50)
            reservoir.add(numbers[:, None].float(), numbers)
        assert len(reservoir.features) == 40
        assert torch.equal(reservoir.features[:, 0].long(), reservoir.owners)
        counts[reservoir.owners] += 1
    assert abs(counts[:200].mean() - counts[200:].mean()) < 1  # 10 expected of each
    assert counts.min() > 0
