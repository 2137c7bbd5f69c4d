"""A head as a folder that transformers.AutoModelForImageClassification opens: an encoder and a linear head.

A head tells classes, tags (any number of classes of an image), or quantities such as counts. The folder remembers the
images that it was trained on, as hashes of what the encoder sees of them.
"""

import contextlib
import enum
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from openjepa.data.crops import Frame
from openjepa.data.dataset import ImageDataset
from openjepa.data.decoding.pixel_format import PixelFormat
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import Model, frame_of, read_by, stream_features
from openjepa.encoder.foreign import ForeignEncoder
from openjepa.errors import UsageError
from openjepa.files import atomic_folder, usage_error, write_json, write_text
from openjepa.interop.artifact import FACTS, build_encoder, encoder_state, hf_config, hf_preprocessor, readable
from openjepa.interop.foreign.artifact import StoredForeign, StoredTensors, load_foreign, network_facts, save_network
from openjepa.interop.formats.foreign_head import LibraryHead, library_head
from openjepa.interop.head_tests import HeadTest
from openjepa.interop.loaded_weights import Source
from openjepa.interop.weights.files import read_safetensors, save_tensors
from openjepa.interop.weights.match import matched
from openjepa.interop.weights.shapes import EncoderShape, Origin, Preprocessing
from openjepa.interop.weights.tensor_names import from_hf
from openjepa.safety.schema import Json, Name, checked, read_json


class Problem(enum.StrEnum):
    """What the outputs of a head are, as transformers calls it."""

    CLASSES = "single_label_classification"
    TAGS = "multi_label_classification"
    QUANTITIES = "regression"


ENCODER, HEAD = "ijepa.", "classifier."
TRAINED_ON = "trained_on.safetensors"
HEAD_ALONE = "classifier.safetensors"  # of a head on a network of another library, which the other file holds
FILES = ("config.json", "model.safetensors", "openjepa.json", "preprocessor_config.json", "README.md", TRAINED_ON)
AGAIN = "write it again with --save-head"
MODEL = "model"  # the head in the folder of a fine-tuning
MOST_FACTS, MOST_CLASSES = 2**24, 100_000
CardOf = Callable[[str | None], str]  # the model card by the library that opens the folder, None for openjepa alone


class Facts(Preprocessing):
    """What of openjepa.json decides how a classifier is read."""

    classifier: EncoderShape | None
    foreign: StoredForeign | None = None
    tensors: StoredTensors | None = None
    classes: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MOST_CLASSES)]
    quantities: bool = False
    tags: bool = False
    test: tuple[HeadTest, ...] = ()
    source: Origin | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.classifier:
            self.check_channels(self.classifier.in_chans)
        elif not self.foreign:
            raise ValueError("classifier is missing")
        if self.quantities and self.tags:
            raise ValueError("quantities and tags are both set")
        return self

    @property
    def problem(self) -> "Problem":
        if self.quantities:
            return Problem.QUANTITIES
        return Problem.TAGS if self.tags else Problem.CLASSES

    @property
    def licence(self) -> str | None:
        return self.source.licence if self.source else None


class Classifier:
    """An encoder with a linear head on its embedding; a Model whose features are what the head says.

    Those are the probabilities of the `classes`, of tags each by itself, or the numbers that the `classes` name.
    `trained_on` are the hashes of the training images, sorted, and `test` its results on the test images; empty where
    not known.
    """

    def __init__(
        self,
        encoder: Encoder,
        weight: Tensor,
        bias: Tensor,
        classes: list[str],
        name: str,
        problem: Problem = Problem.CLASSES,
        trained_on: np.ndarray | None = None,
        test: tuple[HeadTest, ...] = (),
    ) -> None:
        self.encoder, self.weight, self.bias, self.classes, self.name = encoder, weight, bias, classes, name
        self.problem, self.test = problem, test
        self.trained_on = np.zeros(0, np.int64) if trained_on is None else trained_on

    @property
    def pixel_format(self) -> PixelFormat:
        return self.encoder.pixel_format

    @property
    def image_size(self) -> tuple[int, int]:
        return self.encoder.image_size

    @property
    def frame(self) -> Frame:
        return self.encoder.frame

    def features(self, images: Tensor) -> Tensor:
        """Preprocessed images to probabilities, or numbers, [B, C] float32."""
        said = self.encoder.features(images) @ self.weight.T + self.bias
        if self.problem is Problem.QUANTITIES:
            return said
        return said.sigmoid() if self.problem is Problem.TAGS else said.softmax(1)

    def answers(self, images: Tensor) -> Tensor:
        """`features` with a last column: 1 for images that the head was trained on, else 0."""
        known = torch.from_numpy(np.isin(image_hashes(images), self.trained_on)).float()
        return torch.cat([self.features(images), known[:, None]], dim=1)


def image_hashes(images: Tensor) -> np.ndarray:
    """A hash, int64 [B], of each preprocessed image [B, C, H, W]."""
    arrays = (np.ascontiguousarray(image) for image in images.numpy())
    digests = b"".join(hashlib.blake2b(array.tobytes(), digest_size=8).digest() for array in arrays)
    return np.frombuffer(digests, np.int64).copy()


def hashes_of(model: Model, dataset: ImageDataset, workers: int) -> np.ndarray:
    """The hashes, int64 [n], of the readable images of a data set as a model sees them."""
    read = read_by(model, dataset)
    chunks = stream_features(lambda part: torch.from_numpy(image_hashes(part)), frame_of(model), read, workers)
    return np.concatenate([hashes.numpy() for hashes, kept, _ in chunks if kept])


def save_classifier(
    folder: Path,
    encoder: Encoder,
    weight: Tensor,
    bias: Tensor,
    classes: list[str],
    about: dict,
    trained_on: np.ndarray,
    problem: Problem = Problem.CLASSES,
    card: CardOf | None = None,
    replace: bool = False,
) -> None:
    """Write a head: weight [C, D] and bias [C] on the embedding, classes or quantities [C] by name.

    `trained_on` [n] int64 are the hashes of the training images (`image_hashes`).

    `about` (JSON-able) is stored in openjepa.json, and with it the licence of the encoder; what `card` gives for the
    library that opens the folder in README.md. With `replace` an earlier folder is replaced. Raises UsageError if the
    folder cannot be written.
    """
    known: dict[str, Any] = {"classes": classes, "quantities": problem is Problem.QUANTITIES}
    known |= {"tags": True} if problem is Problem.TAGS else {}
    known |= {"source": {"name": encoder.name, "kind": "openjepa", "licence": encoder.licence}}
    if isinstance(encoder, ForeignEncoder):
        head = {HEAD + "weight": weight, HEAD + "bias": bias}
        theirs = library_head(encoder, weight, bias, classes, problem)
        _save_foreign(folder, encoder, head, theirs, known | about, trained_on, card, replace)
        return
    network = encoder.vit
    tensors = {ENCODER + name: value for name, value in encoder_state(network).items()}
    tensors |= {HEAD + "weight": weight.contiguous(), HEAD + "bias": bias.contiguous()}
    config = hf_config(network) | {
        "architectures": ["IJepaForImageClassification"],
        "id2label": {str(number): name for number, name in enumerate(classes)},
        "label2id": {name: number for number, name in enumerate(classes)},
    }
    config |= {} if problem is Problem.CLASSES else {"problem_type": problem}
    known |= {"max_stretch": encoder.max_stretch, "pixel_format": asdict(encoder.pixel_format)}
    known |= {"classifier": network.arguments(), "mean": encoder.mean, "std": encoder.std}
    processor = hf_preprocessor(frame_of(encoder), encoder.mean, encoder.std, encoder.pixel_format)
    with usage_error(folder), atomic_folder(folder, replace=replace) as part:
        save_tensors({name: value.cpu() for name, value in tensors.items()}, part / "model.safetensors")
        save_tensors({"hashes": torch.from_numpy(np.unique(trained_on))}, part / TRAINED_ON)
        write_json(part / "config.json", config)
        write_json(part / "preprocessor_config.json", processor)
        write_json(part / "openjepa.json", known | about)
        if card:
            write_text(part / "README.md", card("transformers"))


def _save_foreign(
    folder: Path,
    encoder: ForeignEncoder,
    head: dict[str, Tensor],
    theirs: LibraryHead | None,
    about: dict[str, Any],
    trained_on: np.ndarray,
    card: CardOf | None,
    replace: bool,
) -> None:
    """Write a head on a network of another library, which openjepa opens, and where it can that library too."""
    known = network_facts(encoder)
    with usage_error(folder), atomic_folder(folder, replace=replace) as part:
        if theirs:
            theirs.write(part)
            known |= {"tensors": theirs.tensors.model_dump()}
        else:
            save_network(part, encoder)
        if card:
            write_text(part / "README.md", card(theirs.library if theirs else None))
        save_tensors({name: value.cpu() for name, value in head.items()}, part / HEAD_ALONE)
        save_tensors({"hashes": torch.from_numpy(np.unique(trained_on))}, part / TRAINED_ON)
        write_json(part / FACTS, {"classifier": None, **known, **about})


def _load_foreign(folder: Path, facts: Facts, device: str | torch.device, precision: torch.dtype) -> Classifier:
    """The head in such a folder. Raises UsageError."""
    encoder = load_foreign(folder, str(folder)).encoder(torch.device(device), precision)
    path, empty = folder / HEAD_ALONE, torch.zeros(1, encoder.network.in_chans, *encoder.image_size)
    head = nn.Linear(encoder.features(empty).shape[1], len(facts.classes), device="meta")
    try:
        tensors = read_safetensors(path, AGAIN)
        linear = matched({name.removeprefix(HEAD): value for name, value in tensors.items()}, head)
    except ValueError as error:
        raise UsageError(f"{path} is damaged: its head does not fit the classes: {error}: {AGAIN}") from error
    known = facts.problem, _trained_on(folder / TRAINED_ON), facts.test
    return Classifier(encoder, linear["weight"], linear["bias"], list(facts.classes), str(folder), *known)


def load_classifier(
    folder: Path, device: str | torch.device = "cpu", precision: torch.dtype = torch.float32
) -> Classifier:
    """The classifier in a folder that `save_classifier` wrote; raises UsageError if it is none, or damaged."""
    folder = find_head(folder)
    facts = _read(folder)
    if facts.classifier is None:
        return _load_foreign(folder, facts, device, precision)
    path = folder / "model.safetensors"
    tensors = read_safetensors(path, AGAIN)
    head = nn.Linear(facts.classifier.embed_dim, len(facts.classes), device="meta")
    try:
        linear = matched(
            {name: tensors.pop(HEAD + name) for name in ("weight", "bias") if HEAD + name in tensors}, head
        )
    except ValueError as error:
        raise UsageError(f"{path} is damaged: its head does not fit the classes: {error}: {AGAIN}") from error
    state = from_hf({name.removeprefix(ENCODER): value for name, value in tensors.items()})
    network = build_encoder(state, facts.classifier, str(path), AGAIN)
    how = device, precision, facts.pixel_format(network.in_chans), facts.max_stretch, facts.licence
    encoder = Encoder(network, list(facts.mean), list(facts.std), str(folder), *how)
    linear_head = linear["weight"], linear["bias"], list(facts.classes)
    known = _trained_on(folder / TRAINED_ON), facts.test
    return Classifier(encoder, *linear_head, str(folder), facts.problem, *known)


def is_head(folder: Path) -> bool:
    """Whether a folder holds a head, whatever else is wrong with it."""
    with contextlib.suppress(UsageError):
        path = find_head(folder) / FACTS
        return path.is_file() and "classifier" in read_json(path, dict[str, Json], AGAIN, MOST_FACTS)
    return False


def library_of(folder: Path) -> str | None:
    """Which library opens the folder of a head as it is: transformers, timm, or None. Raises UsageError."""
    facts = _read(find_head(folder))
    if facts.foreign is None:
        return "transformers"
    return facts.foreign.library if facts.tensors else None


def copy_head(folder: Path, model: Classifier) -> None:
    """Copy the files of a head into an empty folder. Raises OSError."""
    for name in (*FILES, HEAD_ALONE):
        path = find_head(Path(model.name)) / name
        if path.is_file():
            shutil.copyfile(path, folder / name)


def head_source(folder: Path, name: str) -> Source:
    """The encoder of a head, as weights to go on from. Raises UsageError where the head is damaged."""
    encoder = load_classifier(folder).encoder
    how = encoder.pixel_format
    return Source(
        name,
        "openjepa",
        encoder.mean,
        encoder.std,
        target=encoder.vit,
        licence=encoder.licence,
        values=how.values,
        pages=how.pages,
        max_stretch=encoder.max_stretch,
    )


def _trained_on(path: Path) -> np.ndarray:
    """The hashes of the training images; none in a folder that an older version wrote."""
    if not path.exists():
        return np.zeros(0, np.int64)
    hashes = read_safetensors(path, AGAIN).get("hashes", torch.zeros(0))
    if hashes.dtype != torch.int64 or hashes.ndim != 1:
        raise UsageError(f"{path} is damaged: it does not hold hashes of images: {AGAIN}")
    return hashes.numpy()


def find_head(folder: Path) -> Path:
    """The folder of a head: itself, or that in a folder that `openjepa finetune` wrote. Raises UsageError for none."""
    with readable(str(folder)):
        return folder / MODEL if (folder / MODEL / FACTS).is_file() else folder


def _read(folder: Path) -> Facts:
    give = "give a folder that openjepa finetune or evaluate ... --save-head wrote"
    with readable(str(folder)):
        if not folder.exists():
            raise UsageError(f"{folder} does not exist: {give}")
        if not (folder / FACTS).is_file():
            begun = (folder / "checkpoints").is_dir() and (folder / "finetuning.json").is_file()
            unfinished = "it is a fine-tuning that has not finished: finish it with --resume" if begun else give
            raise UsageError(f"{folder} is no classifier: {unfinished}")
    about = read_json(folder / FACTS, dict[str, Json], AGAIN, MOST_FACTS)
    if "classifier" not in about:
        raise UsageError(f"{folder} is an encoder without a head: {give}")
    return checked(Facts, about, str(folder / FACTS), AGAIN)
