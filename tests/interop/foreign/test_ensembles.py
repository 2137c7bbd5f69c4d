"""Networks of timm side by side: by the mean of their patch tokens, seen as their library shows images."""

import numpy as np
import pytest
import torch
from PIL import Image
from support.foreign import timm_folder
from support.photos import draw_photos
from support.siblings import sibling

import openjepa
from openjepa.encoder.feature_cache import model_hash
from openjepa.errors import UsageError

HOW = {"device": "cpu", "precision": "float32", "workers": 0}


def test_networks_of_timm_are_joined_and_stored(tmp_path):
    names = ["vit_base_patch16_224", "deit_small_distilled_patch16_224"]  # grids of 4x4 and 2x2 patches
    for name in names:
        timm_folder(tmp_path / name, name)
    timm_folder(tmp_path / "convnext_tiny", "convnext_tiny")
    sibling(tmp_path / "own", 0, image_size=(32, 32))
    photos = draw_photos(tmp_path / "photos", 60, (), side=40)
    folders = [str(tmp_path / name) for name in names]
    made = {"how": "concat", "data": photos, "out": tmp_path / "both", **HOW}
    both = openjepa.load_encoder(openjepa.ensemble(folders, **made))
    images = [Image.open(path) for path in sorted(photos.iterdir())]
    alone = [openjepa.load_encoder(folder, pooling="mean") for folder in folders]
    assert both.frame == alone[0].frame and both.frame.zoom < 1 and both.grid_size == (4, 4)
    embeddings = both.embed(images)
    for part, encoder in zip(embeddings.split(32, dim=1), alone, strict=True):
        wanted = encoder.embed(images)
        wanted = wanted - wanted.mean(dim=0)
        torch.testing.assert_close(part, wanted / wanted.var(dim=0).sum().sqrt(), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(both.patch_tokens(images[:2]).mean(dim=(1, 2)), embeddings[:2], atol=1e-5, rtol=1e-4)
    assert model_hash(both) == model_hash(openjepa.load_encoder(tmp_path / "both")) and np.isfinite(embeddings).all()
    for other, said in (("own", "cannot be joined: they see images at"), ("convnext_tiny", "has no patch tokens")):
        with pytest.raises(UsageError, match=said):
            openjepa.ensemble([folders[0], tmp_path / other], **{**made, "out": tmp_path / "new"})
    with pytest.raises(UsageError, match=r"holds a network of timm .* soups average openjepa's own"):
        openjepa.ensemble(folders, **{**made, "how": "soup", "out": tmp_path / "new"})
