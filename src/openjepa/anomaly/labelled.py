"""Test images with what is known of them: which are normal, the kind of defect of the others, and where it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from openjepa.data.crops import Frame, resized, size_of
from openjepa.data.dataset import UNLABELLED, ImageDataset
from openjepa.data.open import DataSource, open_dataset
from openjepa.data.storage.split_path import locate
from openjepa.data.storage.zip_members import read_zip
from openjepa.errors import BadImage, UsageError, unknown
from openjepa.evaluation.annotations.name_matching import key_of, match_names

NORMAL = ("good", "normal", "ok", "no defect", "no_defect", "0", "false")
TRAIN, TEST, MASKS, GOOD = "train", "test", "ground_truth", "good"  # the folders of MVTec AD's layout
ENDING = "_mask"  # of the names of its masks
LAYOUTS = "give the layout of MVTec AD (test/good, test/DEFECT, ground_truth/DEFECT), class folders or a CSV"


@dataclass(frozen=True)
class Masks:
    """The masks of images: `places` are their numbers in `files`, by the paths of the images."""

    files: ImageDataset
    places: dict[str, int] = field(default_factory=dict)

    def seen(self, path: str, image_size: tuple[int, int], frame: Frame) -> np.ndarray:
        """What a frame shows of the mask of an image of `image_size` (width, height): booleans [H, W].

        Raises UsageError for a mask that cannot be read or is of another size.
        """
        name = self.files.paths[self.places[path]]
        try:
            pixels = np.asarray(self.files.load(self.places[path]))
        except BadImage as error:
            raise UsageError(f"mask {name} of {self.files.source} cannot be read ({error}): repair it") from error
        if size_of(pixels) != image_size:
            (width, height), (wide, high) = size_of(pixels), image_size
            raise UsageError(
                f"mask {name} of {self.files.source} has {width}x{height} px and its image {path} {wide}x{high}: "
                "give masks of the size of the images"
            )
        grey = Image.fromarray(np.where(pixels.max(axis=2) > 0, 255, 0).astype(np.uint8))
        return resized(grey, frame.size, frame.box(*image_size), Resampling.BOX)[..., 0] >= 128


@dataclass(frozen=True)
class Labelled:
    """Test images, the kind of each ("good", or a defect) and which of them are anomalous; masks, if there are any."""

    dataset: ImageDataset
    kinds: Sequence[str]
    anomalous: np.ndarray
    masks: Masks | None = None

    def subset(self, indices: np.ndarray) -> "Labelled":
        kinds = [self.kinds[index] for index in indices]
        return Labelled(self.dataset.subset(indices), kinds, self.anomalous[indices], self.masks)

    def lines(self) -> list[str]:
        """What a user should know of the masks."""
        odd = [path for path, anomalous in zip(self.dataset.paths, self.anomalous, strict=True) if anomalous]
        if self.masks is None:
            return ["no masks, so AUPRO is not measured: --masks names them"]
        missing = [path for path in odd if path not in self.masks.places]
        return (
            [f"{len(missing):,} anomalous images have no mask and are left out of AUPRO: {missing[0]}"]
            if missing
            else []
        )


def normals_in(source: DataSource) -> DataSource:
    """train/good of a folder or zip in the layout of MVTec AD; any other source as it is."""
    return _part_of(source, f"{TRAIN}/{GOOD}")


def test_images(source: DataSource) -> DataSource:
    """test/ of a folder or zip in the layout of MVTec AD; any other source as it is."""
    return _part_of(source, TEST)


def _part_of(source: DataSource, part: str) -> DataSource:
    """A folder of a folder or zip, where it has one with images; else the source."""
    if not isinstance(source, str):
        return source
    zipped = source.lower().endswith(".zip") and Path(source).is_file()
    has = len(read_zip(source, f"{part}/").names) if zipped else (Path(source) / part).is_dir()
    return f"{source.rstrip('/')}/{part}" if has else source


def label_images(
    dataset: ImageDataset, masks: str | None = None, label: str | None = None, normal: str | None = None
) -> Labelled:
    """Images with their kinds, by their class folders or a column `label`, of which `normal` is the normal class.

    masks  a folder of masks named like the images; left out, ground_truth beside a folder test. Raises UsageError.
    """
    name, chosen = _normal_class(dataset, label, normal)
    classes, numbers = dataset.classes[name], dataset.labels[name]
    if (numbers == UNLABELLED).any():
        dataset, numbers = dataset.subset(np.flatnonzero(numbers != UNLABELLED)), numbers[numbers != UNLABELLED]
    anomalous = numbers != classes.index(chosen)
    if anomalous.all() or not anomalous.any():
        what = "anomalous" if anomalous.all() else "normal"
        raise UsageError(f"all images of {dataset.source} are {what}: give test images of both kinds")
    masks = masks or _masks_beside(dataset.source)
    found = match_masks(dataset, masks) if masks else None
    return Labelled(dataset, [classes[number] for number in numbers], anomalous, found)


def _normal_class(dataset: ImageDataset, label: str | None, normal: str | None) -> tuple[str, str]:
    """The label that tells kinds apart, and its class of normal images."""
    known = dataset.classes
    if label is not None and label not in known:
        raise UsageError(unknown("--label", label, known) if known else _no_labels(dataset))
    candidates = {label: known[label]} if label is not None else known
    wanted = (normal.casefold(),) if normal is not None else NORMAL
    for name, classes in candidates.items():
        for one in classes:
            if one.casefold() in wanted:
                return name, one
    if not candidates:
        raise UsageError(_no_labels(dataset))
    names = ", ".join(dict.fromkeys(one for classes in candidates.values() for one in classes[:10]))
    missing = f"has no class {normal}" if normal is not None else "does not say which images are normal"
    raise UsageError(f"{dataset.source} {missing}: name one of its classes with --normal ({names})")


def _no_labels(dataset: ImageDataset) -> str:
    return f"the images of {dataset.source} have no classes: {LAYOUTS}"


def _masks_beside(source: str) -> str | None:
    """ground_truth beside a folder test, if there is one."""
    place = Path(source)
    beside = place.parent / MASKS
    if place.name == TEST and beside.is_dir():
        return str(beside)
    where = locate(source)
    return f"{source.rstrip('/').removesuffix(TEST)}{MASKS}" if where.file and where.inside == TEST else None


def match_masks(dataset: ImageDataset, source: str) -> Masks:
    """The masks in a folder, by the names of images; their names may end in _mask. Raises UsageError for none."""
    files = open_dataset(source)
    stems = {"/".join(key_of(path)).removesuffix(ENDING): place for place, path in enumerate(files.paths)}
    matched = match_names(list(dataset.paths), list(stems), f"masks in {source}")
    if not matched:
        raise UsageError(
            f"no mask in {source} is named like an image of {dataset.source} ({files.paths[0]}; {dataset.paths[0]}): "
            f"name masks as their images, with or without {ENDING}"
        )
    return Masks(files, {path: stems[name] for path, name in matched.items()})
