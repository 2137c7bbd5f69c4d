"""Small untrained models from one start, or from different ones, as artifacts."""

from pathlib import Path
from typing import Any

import torch

from openjepa.encoder.baselines import seeded
from openjepa.interop.artifact import save_artifact
from openjepa.methods.ijepa import IJEPA
from openjepa.models.predictor import Predictor

MEAN, STD = [0.45, 0.5, 0.4], [0.2, 0.25, 0.3]


def sibling(folder: Path, moved: int, start: int = 0, by: float = 0.02, mean: list[float] = MEAN, **shape: Any) -> Path:
    """An artifact of I-JEPA whose weights are those of a `start`, moved at random by the number `moved`."""
    arguments = {"image_size": (16, 16), "patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2} | shape
    encoder = seeded(start, **arguments)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(start)
        predictor = Predictor(encoder.grid_size, arguments["embed_dim"], dim=16, depth=1, num_heads=2)
        model = IJEPA(encoder, predictor)
        torch.manual_seed(100 + moved)
        for value in model.parameters():
            value.add_(by * value.std(unbiased=False) * torch.randn_like(value))
    settings = {"method": "ijepa"}
    save_artifact(folder, model, mean, STD, {"step": 7, "settings": settings, "source": {"name": "x", "kind": "y"}})
    return folder
