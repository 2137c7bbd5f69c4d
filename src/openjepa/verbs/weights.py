"""What import, export and `--init` have in common: weights in words, and an artifact that is whole or not there."""

import shutil
from pathlib import Path

from openjepa.errors import UsageError
from openjepa.interop.artifact import write_artifact
from openjepa.interop.source import Source


def describe(source: Source, which: str, licence: str | None) -> list[str]:
    """What a source holds, line by line."""
    network = source.encoder(which)
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    (height, width), (rows, columns) = network.image_size, network.grid_size
    there = [name for name, part in (("target encoder", source.target), ("context encoder", source.context)) if part]
    there += ["predictor"] if source.predictor else []
    mean, std = ([round(x, 3) for x in values] for values in (source.mean, source.std))
    return [
        f"{source.name} ({source.kind}): {', '.join(there)}",
        f"  {millions:.1f} M, {network.embed_dim} wide, {len(network.blocks)} blocks, {network.num_heads} heads",
        f"  {height}x{width} px, {rows}x{columns} patches of {network.patch_size} px, {network.in_chans} channels",
        f"  mean {mean}, std {std}",
        f"  licence: {licence or 'not stated by the source'}",
        *(f"  {remark}" for remark in source.remarks(which)),
    ]


def store(folder: Path, source: Source, which: str, about: dict) -> None:
    """Write an artifact aside, then put it in its place; raises UsageError, after which nothing is left."""
    aside = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        write_artifact(aside, source, which, about)
        if folder.exists():
            folder.rmdir()
        aside.rename(folder)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise UsageError(f"cannot write {folder}: {error}") from error
