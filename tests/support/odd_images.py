"""Images and names that are hard to lay out: long names, names that look like markup, wide, tall and grey images."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = (
    "a_class_whose_name_is_long_and_has_no_space_at_which_it_could_be_broken_0123456789",
    "a class whose name has many words and does not fit into the width of a thumbnail",
    "空白のない非常に長い日本語のクラス名をここに置く",
    "<script>alert(1)<",
    "[bold red]markup[_red]",
)
FILES = ("short", "a_file_name_that_is_longer_than_any_column_of_the_page_could_be_", "<b>写真&amp;", "[red]x")
SIZES = ((32, 32), (110, 25), (25, 110), (48, 36))


def draw_odd_images(folder: Path, a_class: int = 8) -> Path:
    """A folder of PNG images, one folder a class, two of them the same file."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(a_class):
            rough = rng.integers(40, 216, (5, 5, 3), dtype=np.uint8)
            rough[..., number % 3] //= 3
            image = Image.fromarray(rough).resize(SIZES[i % len(SIZES)], Image.Resampling.BICUBIC)
            image = image.convert("L") if i % 3 == 0 else image
            image.save(folder / name / f"{FILES[i % len(FILES)]}{i}.png")
    first = next((folder / CLASSES[0]).iterdir())
    (folder / CLASSES[1] / "a copy of a file in another class, with a long name.png").write_bytes(first.read_bytes())
    Image.new("L", (110, 25)).save(folder / CLASSES[2] / "a black image, which is far darker than all the others.png")
    return folder
