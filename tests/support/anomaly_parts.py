"""Pictures of a part with and without a defect, their masks, and an encoder that tells them apart."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from openjepa.anomaly.energy import Energies
from openjepa.encoder.baselines import seeded
from openjepa.encoder.encoder import Encoder
from openjepa.interop.artifact import save_artifact
from openjepa.interop.loaded_weights import Source
from openjepa.methods.hybrid import Hybrid
from openjepa.methods.ijepa import IJEPA
from openjepa.methods.mae import MAE

GREY = [0.5, 0.5, 0.5]
DEFECT = slice(8, 13), slice(12, 18)  # rows and columns
SHAPE = {"patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2}
METHODS = {"ijepa": IJEPA, "mae": MAE, "hybrid": Hybrid}
PREDICTOR = {"predictor_dim": 16, "predictor_depth": 1, "predictor_heads": 2, "target_sequences": "joint"}


def draw_parts(folder: Path, count: int, defects: int = 0, size: tuple[int, int] = (32, 24), seed: int = 0) -> Path:
    """PNG files of `size` (width, height) of stripes with some noise; the last `defects` have a bright spot."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        x = np.linspace(0, 6, size[0])[None, :, None]
        pixels = 110 + 50 * np.sin(x + rng.normal(0, 0.1)) + rng.normal(0, 4, (size[1], size[0], 3))
        if number >= count - defects:
            pixels[DEFECT] = 230
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03}.png")
    return folder


def draw_masks(folder: Path, count: int, size: tuple[int, int] = (32, 24)) -> None:
    """The masks of `draw_parts` with `count` defects, under the names of MVTec AD."""
    folder.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(size[::-1], np.uint8)
    mask[DEFECT] = 255
    for number in range(count):
        Image.fromarray(mask).save(folder / f"{number:03}_mask.png")


def untrained(seed: int = 0, image_size: tuple[int, int] = (24, 32)) -> Encoder:
    return Encoder(seeded(seed, image_size=image_size, **SHAPE), GREY, GREY, f"encoder {seed}")


def save_encoder(folder: Path, seed: int = 0, max_stretch: float = 0.0) -> None:
    """An artifact of I-JEPA with its predictor, without training."""
    method = IJEPA.build(seeded(seed, image_size=(24, 32), **SHAPE), **PREDICTOR)
    save_artifact(folder, method, GREY, GREY, {}, max_stretch=max_stretch)


def built_energies(name: str) -> tuple:
    """A method with its energies; the encoder of contexts is another than that of targets."""
    torch.manual_seed(0)
    method = METHODS[name].build(seeded(0, image_size=(24, 32), **SHAPE), **PREDICTOR).eval()
    if name != "mae":
        method.context_encoder.load_state_dict(seeded(1, image_size=(24, 32), **SHAPE).state_dict())
    return method, energies_of(method, name)


def energies_of(method, name: str, draws: int = 1) -> Energies:
    encoder, context, predictor = method.parts()
    about = {"settings": {"method": name}}
    source = Source("parts", "openjepa", GREY, GREY, encoder, context, predictor, about=about)
    return Energies(Encoder(encoder, GREY, GREY), source, draws)
