"""An encoder is an nn.Module: it moves, trains, and its preprocessing goes into a DataLoader."""

import copy
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from openjepa.encoder.baselines import seeded
from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError


@pytest.fixture
def encoder():
    network = seeded(0, image_size=(16, 24), patch_size=4, embed_dim=32, depth=2, num_heads=2)
    return Encoder(network, [0.5] * 3, [0.25] * 3, max_stretch=0.2)


def pictures(count=5):
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)) for _ in range(count)]


class Pictures(Dataset):
    def __init__(self, images, transform):
        self.images, self.transform = images, transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(self.images[index])


def test_calling_it_gives_embeddings_with_gradients(encoder):
    images = encoder.preprocess(pictures())
    embeddings = encoder(images)
    assert embeddings.requires_grad and torch.allclose(embeddings, encoder.embed(pictures()), atol=1e-6)
    embeddings.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_it_learns_inside_of_another_module(encoder):
    head = nn.Linear(32, 2)
    nn.init.zeros_(head.weight)
    model = nn.Sequential(encoder, head).train()
    images, before = encoder.preprocess(pictures(8)), encoder.embed(pictures(1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    for _ in range(5):
        loss = nn.functional.cross_entropy(model(images), torch.arange(8) % 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] and not torch.equal(before, encoder.embed(pictures(1)))


def test_state_modes_and_devices_are_those_of_a_module(encoder):
    assert not encoder.training and encoder.train().network.training and not encoder.eval().network.training
    other = Encoder(copy.deepcopy(encoder.network), [0.5] * 3, [0.25] * 3, max_stretch=0.2)
    nn.init.zeros_(other.network.norm.weight)
    assert not torch.equal(other.embed(pictures()), encoder.embed(pictures()))
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other.embed(pictures()), encoder.embed(pictures()))
    assert encoder.device == torch.device("cpu") and encoder.to("meta").device.type == "meta"


@pytest.mark.parametrize("workers", [0, 2])
def test_its_transform_goes_into_a_loader(encoder, workers):
    transform = pickle.loads(pickle.dumps(encoder.transform))
    assert len(pickle.dumps(encoder.transform)) < 1000  # no weights
    images = pictures()
    loader = DataLoader(Pictures(images, transform), batch_size=5, num_workers=workers)
    (batch,) = loader
    assert torch.equal(batch, encoder.preprocess(images)) and batch.is_contiguous() and batch.dtype == torch.uint8
    assert torch.equal(transform(np.asarray(images[0])), batch[0])


def test_a_transform_refuses_what_is_no_image(encoder):
    for wrong in ("a.jpg", np.zeros((4, 4), np.uint8), 3):
        with pytest.raises(UsageError, match="cannot read"):
            encoder.transform(wrong)
