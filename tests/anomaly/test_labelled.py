"""Folders and zips in the layout of MVTec AD: which images are normal, which are tested, and where masks are."""

import numpy as np
import pytest
from support.anomaly_parts import draw_masks, draw_parts
from support.packing import as_zip

from openjepa.anomaly import labelled
from openjepa.anomaly.labelled import label_images, normals_in
from openjepa.data.open import open_dataset


@pytest.fixture
def parts(tmp_path):
    draw_parts(tmp_path / "parts/train/good", 3)
    draw_parts(tmp_path / "parts/test/good", 2)
    draw_parts(tmp_path / "parts/test/hole", 2, defects=2)
    draw_masks(tmp_path / "parts/ground_truth/hole", 2)
    return tmp_path / "parts"


@pytest.mark.parametrize("packed", [False, True])
def test_the_parts_of_the_layout_are_found(parts, packed):
    source = str(as_zip(parts, parts.parent / "parts.zip") if packed else parts)
    assert open_dataset(normals_in(source)).paths == ["000.png", "001.png", "002.png"]
    found = label_images(open_dataset(labelled.test_images(source)))
    assert found.kinds == ["good", "good", "hole", "hole"] and found.masks is not None
    assert np.array_equal(found.anomalous, [False, False, True, True])
    for other in (f"{source}/test", str(parts / "train")):
        assert normals_in(other) == other


def test_another_zip_is_taken_whole(parts):
    source = str(as_zip(parts / "train/good", parts.parent / "good.zip"))
    assert normals_in(source) == source == labelled.test_images(source)
