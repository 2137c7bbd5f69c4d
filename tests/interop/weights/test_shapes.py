"""Names of untrained models ask for no more than fits, and say what is wrong."""

import pytest
import torch

from openjepa.errors import UsageError
from openjepa.interop.open_model import open_model
from openjepa.interop.weights.shapes import encoder_arguments

SHAPE = {"image_size": (32, 32), "patch_size": 8, "in_chans": 3, "embed_dim": 16, "depth": 1, "num_heads": 2}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("untrained:vit_nano_patch0", "patch_size is 0"),
        ("untrained:vit_nano_patch0_0", "image_size.0 is 0"),
        ("untrained:vit_nano_patch8_0", "image_size.0 is 0"),
        ("untrained:vit_nano_patch1_60000", "larger than supported"),
        ("untrained:vit_nano_patch60000_60000", "larger than supported"),
        ("untrained:vit_nano_patch999999999_999999999", "image_size.0 is 999999999"),
        ("untrained:vit_nano_patch5_32", "patches that do not divide 32 px"),
        ("untrained:vit_nano_patch" + "9" * 5000, "does not exist|cannot read"),
    ],
)
def test_an_untrained_model_out_of_bounds_is_refused(name, message):
    with pytest.raises(UsageError, match=message):
        open_model(name, torch.device("cpu"), torch.float32)


def test_arguments_come_back_in_their_types():
    known = encoder_arguments(SHAPE | {"mlp_ratio": 4}, "x")
    assert known["image_size"] == (32, 32) and known["mlp_ratio"] == 4.0 and known["position_code"] == "sincos"
    with pytest.raises(UsageError, match="x cannot be used: mlp_ratio is missing"):
        encoder_arguments(SHAPE, "x")
