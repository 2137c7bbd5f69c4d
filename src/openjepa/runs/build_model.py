"""The networks of a config."""

import torch

from openjepa.config import Config
from openjepa.encoder.baselines import seeded
from openjepa.methods.base import Method
from openjepa.methods.hybrid import Hybrid
from openjepa.methods.ijepa import IJEPA
from openjepa.methods.mae import MAE
from openjepa.models.predictor import Predictor
from openjepa.models.vit import SIZES


def build_model(config: Config, channels: int = 3) -> Method:
    """The networks of a config for images of so many channels, initialised by its seed alone."""
    embed_dim, depth, num_heads, mlp_ratio = SIZES[config.model]
    encoder = seeded(
        config.seed,
        image_size=config.size,
        patch_size=config.patch_size,
        in_chans=channels,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        mlp_ratio=mlp_ratio,
        weight_init=config.weight_init,
    )
    pixels = encoder.in_chans * config.patch_size**2
    predicted = {"ijepa": embed_dim, "mae": pixels, "hybrid": embed_dim + pixels}[config.method]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed + 1)
        predictor = Predictor(
            config.grid_size,
            embed_dim,
            config.predictor_dim,
            config.predictor_depth,
            config.predictor_heads,
            out_dim=predicted,
            weight_init=config.weight_init,
            joint=config.target_sequences == "joint",
        )
    if config.method == "mae":
        return MAE(encoder, predictor)
    method = {"ijepa": IJEPA, "hybrid": Hybrid}[config.method]
    return method(encoder, predictor, config.loss)
