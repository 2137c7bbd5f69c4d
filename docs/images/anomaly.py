"""Make the picture of docs/anomaly.md: drawn plates, of which some have a defect, beside the map of a detector.

python docs/images/anomaly.py      writes docs/images/anomaly.png
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from openjepa.anomaly.evaluate import enlarged
from openjepa.anomaly.fitting.fit import FitSettings, Fitter
from openjepa.data.sources.objects import as_dataset
from openjepa.encoder.baselines import seeded
from openjepa.encoder.encoder import Encoder
from openjepa.reports.anomaly.pictures import heat
from openjepa.reports.drawing import contact_sheet

SIDE, GREY = 64, [0.5, 0.5, 0.5]
DEFECTS = {
    "scratch": (slice(20, 22), slice(14, 50)),
    "hole": (slice(38, 46), slice(40, 48)),
    "none": (slice(0), slice(0)),
}


def plate(seed: int, defect: str = "none") -> np.ndarray:
    """A brushed plate with four screws, uint8 [64, 64, 3]."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((SIDE, SIDE))
    grey = 150 + 12 * np.sin(rows * 1.3 + rng.normal(0, 0.5)) + rng.normal(0, 5, (SIDE, SIDE))
    for row, column in ((12, 12), (12, 52), (52, 12), (52, 52)):
        grey[(rows - row) ** 2 + (columns - column) ** 2 < 20] = 80
    grey[DEFECTS[defect]] = 60
    return np.clip(grey, 0, 255)[..., None].repeat(3, axis=2).astype(np.uint8)


def main() -> None:
    encoder = Encoder(seeded(0, image_size=(SIDE, SIDE), patch_size=4, embed_dim=64, depth=2, num_heads=4), GREY, GREY)
    normal = as_dataset([plate(seed) for seed in range(16)])
    detector = Fitter(encoder, FitSettings(), workers=0).fit(normal, "untrained", (SIDE, SIDE)).detector
    tiles = []
    for seed, defect in enumerate(("scratch", "hole", "none"), 100):
        image = plate(seed, defect)
        scored = detector.score(torch.from_numpy(image).permute(2, 0, 1)[None])
        tiles += [image, heat(image, enlarged(scored.maps[0], detector).numpy())]
    sheet = contact_sheet([tile.repeat(3, axis=0).repeat(3, axis=1) for tile in tiles], columns=6)
    Image.fromarray(sheet).save(Path(__file__).with_suffix(".png"), optimize=True)


if __name__ == "__main__":
    main()
