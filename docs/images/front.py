"""Make the README's picture: drawn scenes, and what a training step shows and asks of them.

python docs/images/front.py      writes docs/images/front.png
"""

from pathlib import Path

from PIL import Image

from openjepa.data.scenes.scenes import draw_scene
from openjepa.masking.samplers import sample_masks
from openjepa.masking.settings import MaskSettings
from openjepa.reports.pictures import contact_sheet, draw_masks, stack

SEED, INDICES, SIDE, GRID = 1, (0, 3, 5, 8, 12, 17), 240, (12, 12)


def main() -> None:
    scenes = [draw_scene(SEED, index, (SIDE, SIDE)).image for index in INDICES]
    masks = sample_masks(MaskSettings(GRID), len(scenes), SEED, 0)
    hidden = [draw_masks(x, c, t, GRID) for x, c, t in zip(scenes, masks.context_ids, masks.target_ids, strict=True)]
    picture = stack([contact_sheet(row, len(scenes)) for row in (scenes, hidden)], gap=8)
    Image.fromarray(picture).save(Path(__file__).with_name("front.png"), optimize=True)


if __name__ == "__main__":
    main()
