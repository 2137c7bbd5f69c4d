"""The contract of an evaluation task: what it is called, what it needs of the images, how it runs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from openjepa.encoder.cropped import Cropped
from openjepa.encoder.encoder import Encoder
from openjepa.encoder.features import Model
from openjepa.encoder.foreign import ForeignEncoder
from openjepa.errors import UsageError
from openjepa.evaluation.annotations.targets import Maps
from openjepa.evaluation.finetuning.layers import is_transformer
from openjepa.evaluation.probes.dense import check_map
from openjepa.evaluation.results import Result
from openjepa.evaluation.session import Part, Progress, Session


class Need(StrEnum):
    """What must be known of the images besides their pixels."""

    CLASSES = "classes"
    COUNTS = "objects"
    DISTANCES = "objects with distances"
    DEPTHS = "depth maps"
    MASKS = "class masks"

    def check(self, task: str, part: Part) -> None:
        """Raise UsageError where it is not known of the images of a part."""
        targets, source = part.targets, part.dataset.source
        if self in (Need.COUNTS, Need.DISTANCES) and not targets.annotations:
            raise UsageError(
                f"{task} needs objects, and {source} has none: give --annotations (CLEVR, COCO, VOC or CSV), or scenes"
            )
        if self is Need.DISTANCES:
            known = (targets.annotations.get(path) for path in part.dataset.paths)
            unknown = sum(found is not None and found.distance is None for found in known)
            if unknown:
                raise UsageError(
                    f"{task} needs depths, and {unknown:,} images of {source} have objects without (VOC and COCO "
                    "state none): give CLEVR scenes, or drawn scenes"
                )
        if self is Need.DEPTHS:
            _check_maps(task, part, targets.depth, "--depths")
        if self is Need.MASKS:
            _check_maps(task, part, targets.mask, "--masks")


def _check_maps(task: str, part: Part, maps: Maps | None, option: str) -> None:
    if maps is None:
        raise UsageError(f"{task} needs maps, and {part.dataset.source} has none: give {option} FOLDER, or scenes")
    known = next((index for index, path in enumerate(part.dataset.paths) if path in maps.paths), None)
    if known is None:
        raise UsageError(f"{task} needs maps, and none is of an image of this part of {part.dataset.source}: give more")
    check_map(maps, part.dataset, known)


def fetch_embeddings(session: Session, progress: Progress) -> None:
    for part in (session.train, session.test):
        session.features(part, progress)


def nothing(session: Session) -> list[str]:
    """No further condition, and no remark."""
    return []


class Reads(StrEnum):
    """What a task reads of a model."""

    EMBEDDING = "embedding"
    TOKENS = "patch tokens"
    NETWORK = "network"

    def check(self, task: str, model: Model) -> None:
        """Raise UsageError where a model has none."""
        if self is not Reads.EMBEDDING and isinstance(model, Cropped):
            raise UsageError(f"{task} does not read embeddings, which --crops is of: leave one of them out")
        if self is Reads.TOKENS and isinstance(model, ForeignEncoder) and not model.has_tokens:
            raise UsageError(
                f"{task} needs patch tokens, and {model.name} has only features of whole images: leave one of them out"
            )
        if self is Reads.NETWORK and isinstance(model, Encoder) and not is_transformer(model):
            raise UsageError(
                f"{task} needs a vision transformer of equal blocks, and {model.name} is none: leave one of them out"
            )


@dataclass(frozen=True)
class Task:
    """A measurement of a model on the images of a session.

    name   on the command line
    help   one line: what is measured
    run    the results, one or more
    needs  what must be known of the images; CLASSES are checked before a data set is split (`splits.check_labels`)
    fetch  computes the features that `run` reads; several processes share this part of the work
    reads  what it reads of a model
    check  before anything is computed: raises UsageError for a further condition, gives lines for the user
    """

    name: str
    help: str
    run: Callable[[Session], Iterable[Result]]
    needs: tuple[Need, ...] = (Need.CLASSES,)
    fetch: Callable[[Session, Progress], None] = fetch_embeddings
    check: Callable[[Session], list[str]] = nothing
    reads: Reads = Reads.EMBEDDING
