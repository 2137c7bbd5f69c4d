"""What every probe asks of the features it is given."""

import torch

from openjepa.errors import UsageError


def require_finite(*features: torch.Tensor) -> None:
    """Raises UsageError when a feature is NaN or infinite: a probe would turn it into a plausible wrong number."""
    bad = sum(int((~torch.isfinite(x)).any(dim=1).sum()) for x in features)
    if bad:
        total = sum(len(x) for x in features)
        raise UsageError(
            f"{bad} of {total} images have features that are NaN or infinite, and probes need finite numbers: "
            "the encoder has diverged, so evaluate an earlier checkpoint"
        )
