"""Make the README's picture: drawn scenes, and the context and targets of a training step without options.

python docs/images/front.py      writes docs/images/front.png
"""

from pathlib import Path

from PIL import Image

from openjepa.data.scenes.scenes import draw_scene
from openjepa.masking.samplers import sample_masks
from openjepa.recipe_settings import config_of
from openjepa.reports.drawing import contact_sheet, draw_masks, stack
from openjepa.runs.images import mask_settings

SEED, INDICES, SIDE = 1, (0, 3, 5, 8, 12, 17), 240


def main() -> None:
    scenes = [draw_scene(SEED, index, (SIDE, SIDE)).image for index in INDICES]
    settings = mask_settings(config_of(None, {}))
    masks = sample_masks(settings, len(scenes), SEED, 0)
    chosen = zip(scenes, masks.context_ids, masks.target_ids, strict=True)
    hidden = [draw_masks(image, context, targets, settings.grid_size) for image, context, targets in chosen]
    picture = stack([contact_sheet(row, len(scenes)) for row in (scenes, hidden)], gap=8)
    Image.fromarray(picture).save(Path(__file__).with_name("front.png"), optimize=True)


if __name__ == "__main__":
    main()
