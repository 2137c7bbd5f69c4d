"""`--teacher MODEL`: a trained encoder is opened with the patch grid of a run, or refused."""

from openjepa.config import Config
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.device import choose_device
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.foreign import ForeignEncoder
from openjepa.errors import UsageError
from openjepa.interop.load import UNTRAINED, load_encoder
from openjepa.interop.weights.shapes import StoredTeacher
from openjepa.runs.planning.build_model import Networks, build_model
from openjepa.runs.planning.frozen_teacher import FrozenTeacher, weights_hash


def open_teacher(config: Config) -> Encoder:
    """The encoder that --teacher names, at its own image size. Raises UsageError where it has no patch tokens."""
    check_teacher(config)
    name = str(config.teacher)
    encoder = load_encoder(name)
    if isinstance(encoder, ForeignEncoder) and not encoder.has_tokens:
        raise UsageError(f"--teacher {name} has no patch tokens, only features of whole images: give another model")
    encoder.requires_grad_(False)
    return encoder


def check_teacher(config: Config) -> None:
    """Raise UsageError where a teacher does not go with the other settings."""
    if config.teacher and config.method != "ijepa":
        raise UsageError(f"--teacher replaces the target encoder of --method ijepa: leave out --method {config.method}")
    if config.teacher and config.teacher.startswith(UNTRAINED):
        raise UsageError(f"--teacher {config.teacher} has learned nothing to teach: give a trained encoder")
    if config.teacher and config.init:
        raise UsageError("--teacher trains a fresh encoder, and --init was given too: leave one of them out")


def with_grid(encoder: Encoder, config: Config) -> Encoder:
    """The teacher with the patch grid of the run: where its own image size gives another, at one that gives this.

    Raises UsageError where it cannot be.
    """
    if encoder.grid_size == config.grid_size:
        return encoder
    rows, columns = encoder.grid_size
    patch = encoder.image_size[0] // rows, encoder.image_size[1] // columns
    size = config.grid_size[0] * patch[0], config.grid_size[1] * patch[1]
    grids = f"{rows}x{columns} patches of {patch[0]} px, and the run {config.grid_size[0]}x{config.grid_size[1]}"
    try:
        resized = load_encoder(encoder.name, image_size=size)
    except UsageError as error:
        raise UsageError(f"--teacher {encoder.name} has {grids}: give another --image-size or --patch-size") from error
    if resized.grid_size != config.grid_size:
        raise UsageError(f"--teacher {encoder.name} has {grids}: give another --image-size or --patch-size")
    resized.requires_grad_(False)
    return resized


def taught(
    config: Config, teacher: Encoder, mean: list[float], std: list[float], pixel_format: PixelFormat
) -> Networks:
    """Fresh networks that learn from a teacher. UsageError if its grid or its images cannot be the run's."""
    theirs = teacher.pixel_format
    if (theirs.channels, theirs.values) != (pixel_format.channels, pixel_format.values):
        raise UsageError(
            f"--teacher {teacher.name} reads {theirs.channels} channels ({theirs.values}), and the images have "
            f"{pixel_format.channels} ({pixel_format.values}): give --channels {theirs.channels}, or another teacher"
        )
    teacher = with_grid(teacher, config)
    teacher.to(choose_device(config.device))
    frozen = FrozenTeacher(teacher, mean, std)
    return Networks(lambda: build_model(config, len(mean), frozen), teacher=frozen)


def fresh_networks(config: Config, mean: list[float], std: list[float], pixel_format: PixelFormat) -> Networks:
    """Networks from their first weights, with the teacher of the config where it has one. Raises UsageError."""
    if config.teacher:
        return taught(config, open_teacher(config), mean, std, pixel_format)
    return Networks(lambda: build_model(config, len(mean)))


def same_teacher(config: Config, stored: StoredTeacher) -> Encoder:
    """The teacher of a stored run, opened again. Raises UsageError if its weights are others than before."""
    teacher = with_grid(open_teacher(config), config)
    if weights_hash(teacher) != stored.weights:
        raise UsageError(
            f"--teacher {stored.name} has other weights than when the run was started: put the former ones back"
        )
    return teacher
