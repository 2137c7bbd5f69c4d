"""An index and the model that its vectors are of: made, opened, and checked to belong together."""

import math
import os
from pathlib import Path

import pyarrow as pa

from openjepa._version import __version__
from openjepa.data.dataset import ImageDataset
from openjepa.device import choose_device, choose_precision
from openjepa.encoder.feature_cache import model_hash
from openjepa.encoder.features import Model
from openjepa.errors import UsageError
from openjepa.escaping import utf8
from openjepa.files.lock import LOCK
from openjepa.files.temporary import PREFIX
from openjepa.indexing.build import dimensions_of
from openjepa.indexing.patch_tokens import grid_for
from openjepa.indexing.store import AGAIN, LAYOUT, TABLE, About, Store, holds_index
from openjepa.interop.load import UNTRAINED
from openjepa.ranks import on_rank_zero
from openjepa.runs.checkpoints import Step, find_step, open_model_at


def opened_model(model: str, step: Step, device: str, precision: str, pooling: str) -> Model:
    where = choose_device(device)
    dtype = on_rank_zero(lambda: choose_precision(precision, where))  # timed, so processes could choose differently
    return open_model_at(model, step, where, dtype, pooling)


def check_free(folder: Path) -> None:
    """Raise UsageError for a folder that holds other than an index."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give the name of a folder")
    if folder.is_dir() and not holds_index(folder):
        names = {path.name for path in folder.iterdir()} - {LOCK, f"{TABLE}.lance"}
        if any(not name.startswith(PREFIX) for name in names):
            raise UsageError(f"{folder} exists and is not an index: give another name")


def open_store(
    folder: Path,
    model: Model,
    name: str,
    step: Step,
    pooling: str,
    dataset: ImageDataset,
    source: str,
    patches: bool = False,
) -> Store:
    """The index in `folder` of a model's vectors of the images of a source, or a new one. Raises UsageError.

    With `patches` it has a column of patch tokens from now on.
    """
    grid = grid_for(model) if patches else None
    digest, source = model_hash(model, arithmetic=False), lasting(source)
    if holds_index(folder):
        store = Store.open(folder)
        if store.about.model_hash != digest:
            raise UsageError(_of_another_model(store, name))
        if store.about.source != source:
            raise UsageError(
                f"{folder} is of the images {store.about.source}, not {source}: give those, or another --out"
            )
        if store.patches is None and grid is not None:
            store.add_patches(grid)
        elif store.patches is not None and store.patches != grid_for(model):
            raise UsageError(f"{folder} is damaged: its patch tokens are not those of {name}: {AGAIN}")
        return store
    about = About(
        layout=LAYOUT,
        version=__version__,
        model=lasting(name),
        step=None if step is None else find_step(Path(name), step),
        pooling=pooling,
        model_hash=digest,
        dimensions=dimensions_of(model, dataset),
        image_size=(model.frame.size[0], model.frame.size[1]),
        max_stretch=None if math.isinf(model.frame.max_stretch) else model.frame.max_stretch,
        source=source,
    )
    no_labels: dict[str, pa.DataType] = {}
    return Store.create(folder, about, no_labels, grid)


def model_of(store: Store, moved_to: str | None = None, device: str = "auto", precision: str = "auto") -> Model:
    """The model of an index, where it was or where it has `moved_to`; raises UsageError where it is another one now.

    Nothing is fetched that the user did not name: a model that is not on this machine must be named again.
    """
    about = store.about
    name, step = name_of_model(store, moved_to)
    if not moved_to and not (name == "pixels" or name.startswith(UNTRAINED) or os.path.exists(name)):
        raise UsageError(f"{store.folder} is of the model {name}, which is not a folder here: name it with --model")
    try:
        model = opened_model(name, step, device, precision, about.pooling)
    except UsageError as error:
        raise UsageError(f"the model of {store.folder} cannot be opened ({error}): name it with --model") from error
    if model_hash(model, arithmetic=False) != about.model_hash:
        raise UsageError(_of_another_model(store, name))
    return model


def name_of_model(store: Store, moved_to: str | None = None) -> tuple[str, Step]:
    """Where the model of an index is now, and of which step of its run it is."""
    return moved_to or store.about.model, None if moved_to else store.about.step


def _of_another_model(store: Store, name: str) -> str:
    """Why the model of this name and the index do not go together, and what to do."""
    if lasting(name) == store.about.model:
        return (
            f"{store.folder} was made before {name} was trained further or replaced: index the images again with "
            "another --out, or delete the old index first"
        )
    return (
        f"{store.folder} was made with another model, {store.about.model}: give that one, or index the images again "
        f"with {name} and another --out"
    )


def lasting(name: str) -> str:
    """A name that stays valid in other folders: of something local the absolute path. It is in UTF-8 (`utf8`)."""
    return utf8(os.path.abspath(os.path.expanduser(name)) if os.path.exists(os.path.expanduser(name)) else name)
