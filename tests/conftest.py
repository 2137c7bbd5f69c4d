"""What all tests share: one thread, so that numbers do not depend on the machine, and the reference files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

torch.set_num_threads(1)
SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--need-shared", action="store_true", help="fail, rather than skip, where ../shared is absent")


@pytest.fixture
def shared(request: pytest.FixtureRequest) -> Path:
    """The folder of reference values and real images beside the repository."""
    if not SHARED.is_dir():
        message = f"reference files are not at {SHARED}"
        pytest.fail(message) if request.config.getoption("--need-shared") else pytest.skip(message)
    return SHARED


def draw_photos(folder: Path, count: int = 24, classes: tuple[str, ...] = ("cat", "dog"), side: int = 20) -> Path:
    """A folder of small JPEG pictures that differ, one folder a class; without classes they lie flat."""
    rng = np.random.default_rng(len(classes))
    for i in range(count):
        home = folder / classes[i % len(classes)] if classes else folder
        home.mkdir(parents=True, exist_ok=True)
        rough = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        rough[..., i % max(1, len(classes))] //= 4
        Image.fromarray(rough).resize((side, side), Image.Resampling.BICUBIC).save(home / f"{i:03}.jpg")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """24 pictures in two classes that differ in colour."""
    return draw_photos(tmp_path / "photos")
