"""What every probe asks of the features it is given."""

import torch

from openjepa.errors import UsageError


def require_finite(*features: torch.Tensor) -> None:
    """Raises UsageError when an image's features [n, D] hold NaN or infinity: a probe would score them plausibly."""
    bad = sum(int((~x.sum(dim=1).isfinite()).sum()) for x in features)
    if bad:
        raise UsageError(
            f"{bad} of {sum(map(len, features))} images have features that are NaN or infinite, and a probe needs "
            "finite ones: the encoder has diverged, so train again with a lower --lr"
        )
