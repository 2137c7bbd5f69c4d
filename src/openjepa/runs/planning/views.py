"""What a config says of the views of an image, and what of it the method and the images cannot have."""

from openjepa.config import Config
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.errors import UsageError
from openjepa.methods.registry import VIEWS, Views
from openjepa.own import names_own
from openjepa.ranks import world_size
from openjepa.runs.planning.build_model import method_of

LEAST = 2  # images of a batch that are compared with each other


def views_of(config: Config, pixel_format: PixelFormat | None = None) -> Views:
    """How the views of an image differ. Raises UsageError where the method or the images cannot have that."""
    method = method_of(config)
    name = config.views or method.default_views
    if VIEWS[name].small and not method.takes_small_views:
        raise UsageError(
            f"--views {name} is not possible with --method {config.method}, which compares {method.views} crops of one "
            "size: give photometric or crops"
        )
    if VIEWS[name].small and names_own(config.model):
        raise UsageError(f"--views {name} needs a network for images of any size, and yours has one: give photometric")
    if VIEWS[name].photometric and pixel_format and pixel_format.dtype.itemsize > 1:
        raise UsageError(
            f"--views {name} changes colours of 8 bits a channel, and these images have {pixel_format.in_words()}: "
            "give --views crops"
        )
    return VIEWS[name]


def check_batch(config: Config) -> None:
    """Raise UsageError where a loss that compares the images of a batch would not have all of them, or too few."""
    method = method_of(config)
    if not method.compares_images:
        return
    if config.accumulate > 1:
        raise UsageError(
            f"--accumulate {config.accumulate} is not possible with --method {config.method}, whose loss needs the "
            "whole batch at once: leave it out, and give --checkpoint-activations or a smaller --batch-size"
        )
    least = max(LEAST, world_size())
    if config.batch_size < least or config.batch_size % world_size():
        parts = f", a multiple of the {world_size()} processes" if world_size() > 1 else ""
        raise UsageError(
            f"--batch-size {config.batch_size} is not possible with --method {config.method}, which compares the "
            f"images of a batch: give {least} or more{parts}"
        )
