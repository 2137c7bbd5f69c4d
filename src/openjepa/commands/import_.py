"""`openjepa import SRC DST`: weights from elsewhere as an artifact, whole or not at all."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from openjepa._version import __version__
from openjepa.commands.arguments.options import OverwriteFolder
from openjepa.config import image_size as pixels
from openjepa.console import log
from openjepa.errors import UsageError, option
from openjepa.files.path_arguments import checks_paths
from openjepa.interop.load import open_source
from openjepa.runs.images import check_new_artifact
from openjepa.runs.planning.initial_weights import describe, store


@checks_paths
def import_(
    src: Annotated[
        str,
        Argument(
            help="Checkpoint (.pth.tar, .safetensors), folder of transformers or timm, OWNER/MODEL of the Hub, name of "
            "a timm model, or a run of openjepa.",
            show_default=False,
        ),
    ],
    dst: Annotated[Path, Argument(help="Folder to write the artifact to.", show_default=False)],
    *,
    which: Annotated[str, Option(help="Encoder to put first: target (the paper evaluates it) or context.")] = "target",
    image_size: Annotated[str | None, Option(help="Change its image size, as 448 or ROWSxCOLUMNS.")] = None,
    channels: Annotated[int | None, Option(help="Change the number of channels that it reads.")] = None,
    num_heads: Annotated[int | None, Option(help="Attention heads, for a width that is no standard size.")] = None,
    statistics: Annotated[str, Option(help="Mean and std: auto, imagenet, or source (those of the folder).")] = "auto",
    licence: Annotated[str | None, Option(help="Licence of the weights, where the source does not state it.")] = None,
    overwrite: OverwriteFolder = False,
) -> Path:
    """Import weights: every tensor is used exactly once, or nothing is written and what does not fit is listed.

    All networks of the source are imported, with their preprocessing and licence.

    Returns DST, which evaluate,
    embed, export and `pretrain --init` take, and which transformers opens. Raises UsageError.
    """
    src, dst, size = str(src), Path(dst), None if image_size is None else pixels(str(image_size))
    check_new_artifact(dst, "give DST another name", [src], overwrite)
    _check_count("channels", channels)
    _check_count("num_heads", num_heads)
    source = open_source(src, size, channels, num_heads, statistics)
    about = {"openjepa_version": __version__, **source.about}
    first = source.about.get("source") or {"name": src, "kind": source.kind}
    about["source"] = {**first, "licence": licence or source.licence}
    store(dst, source, which, about, overwrite)
    log(*describe(source, which, about["source"]["licence"]), f"artifact: {dst}")
    return dst


def _check_count(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise UsageError(f"{option(name)} {value} is not possible: give at least 1")
