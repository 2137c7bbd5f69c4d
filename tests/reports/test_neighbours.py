"""Neighbours: ranked by cosine, placed among all pairs, of the images that a user asks for."""

import re

import numpy as np
import pytest
import torch
from support.photos import draw_photos

import openjepa
from openjepa.data.named_images import indices_of
from openjepa.data.open import open_dataset
from openjepa.encoder.baselines import seeded
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.similarity import fraction_below, in_words
from openjepa.errors import UsageError
from openjepa.reports.neighbours import find_neighbours, nearest


def test_neighbours_are_ranked_as_by_brute_force():
    vectors = torch.randn(40, 9, generator=torch.Generator().manual_seed(2)) + 1
    ids, cosines = nearest(vectors, [0, 17, 39], 5)
    for query, found, values in zip((0, 17, 39), ids.tolist(), cosines.tolist(), strict=True):
        likeness = [float(torch.cosine_similarity(vectors[query], other, dim=0)) for other in vectors]
        others = sorted((i for i in range(40) if i != query), key=lambda i: -likeness[i])
        assert found == others[:5]
        assert values == pytest.approx([likeness[i] for i in others[:5]], abs=1e-6)


def test_percentages_tell_cosines_apart_that_lie_close_together():
    vectors = 1 + 0.05 * torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    unit = torch.nn.functional.normalize(vectors, dim=1)
    pairs = (unit @ unit.T).numpy()[np.triu_indices(30, 1)]
    _, cosines = nearest(vectors, [0, 1], 29)
    assert cosines.min() > 0.98
    expected = [[(pairs < value - 1e-6).mean() for value in row] for row in cosines.tolist()]
    np.testing.assert_allclose(fraction_below(vectors, cosines), expected, atol=2 / len(pairs))
    assert fraction_below(vectors, cosines).min() < 0.1
    assert in_words(0.9871, 0.99999) == "0.987 · 99.9 %" and in_words(1.0, 0.0) == "1.000 · 0.0 %"


def test_images_are_asked_for_by_enough_of_their_path(tmp_path):
    dataset = open_dataset(draw_photos(tmp_path / "photos", 6, classes=("cat", "dog")))
    names = ["cat/000.jpg", "003.jpg", str(tmp_path / "photos" / "dog" / "005.jpg")]
    assert [dataset.paths[index] for index in indices_of(dataset, names)] == [
        "cat/000.jpg",
        "dog/003.jpg",
        "dog/005.jpg",
    ]
    (tmp_path / "photos" / "dog" / "000.jpg").write_bytes((tmp_path / "photos" / "cat" / "000.jpg").read_bytes())
    dataset = open_dataset(tmp_path / "photos")
    with pytest.raises(UsageError, match=r"names 2 images .*cat/000.jpg, dog/000.jpg.*more of the path"):
        indices_of(dataset, ["000.jpg"])
    with pytest.raises(UsageError, match=r"none of the 7 images of .*such as cat/000.jpg"):
        indices_of(dataset, ["nothing.jpg"])
    for name, closest in (("dog/005", "dog/005.jpg"), ("cat/002.PNG", "cat/002.jpg"), ("0003.jpg", "dog/003.jpg")):
        with pytest.raises(UsageError, match=rf"--show {name} is none of .*did you mean (.* or )*{closest}( or |\?)"):
            indices_of(dataset, [name])


def test_rows_begin_with_the_images_asked_for(photos):
    network = seeded(0, image_size=(16, 16), patch_size=8, embed_dim=16, depth=1, num_heads=2)
    encoder, dataset = Encoder(network, [0.5] * 3, [0.25] * 3), open_dataset(photos)
    found = find_neighbours(encoder, dataset, 0, asked=[7, 3])
    assert [row[0].path for row in found.rows] == [dataset.paths[7], dataset.paths[3]]
    assert all(len(row) == 7 and re.fullmatch(r"\d\.\d{3} · \d+\.\d %", row[1].lines[0][1]) for row in found.rows)
    assert len(find_neighbours(encoder, dataset, 0).rows) == 6


def test_report_shows_the_neighbours_of_an_image(tmp_path, monkeypatch):
    photos = draw_photos(tmp_path / "photos", 12, classes=("a" * 60 + "_left", "a" * 60 + "_right"))
    small = {"image_size": 16, "batch_size": 8, "predictor_depth": 1, "workers": 0, "steps": 1, "context_ratio": 0.2}
    run = openjepa.pretrain(str(photos), out=tmp_path / "run", **small)
    text = openjepa.report(run, data=photos, show=["005.jpg"]).read_text()
    assert text.count('class="tile query"') == 1
    shown = text[text.index('class="tile query"') :]
    assert f"{'a' * 60}_right/005.jpg" in shown and "aaa…" in shown and "a_right</span>" in shown
    assert "percentage of all pairs" in text and f"openjepa report {run}" in text
    with pytest.raises(UsageError, match=r"--show 99\.jpg"):
        openjepa.report(run, data=photos, show=["99.jpg"])
