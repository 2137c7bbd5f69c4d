"""probe-appearance: does the embedding hold what images look like, or what they show?

Appearance is four quantities that need no labels: colour, brightness, texture, and where the detail lies.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from openjepa.data.crops import Frame
from openjepa.data.decoding.pixel_format import RGB
from openjepa.evaluation.annotations.quantities import count_classes, distance_classes, quantity_result
from openjepa.evaluation.probes.best_linear import validation_split
from openjepa.evaluation.probes.ridge import ridge
from openjepa.evaluation.results import Result
from openjepa.evaluation.session import Answers, Part, Progress, Session, no_progress
from openjepa.evaluation.task import Task, fetch_embeddings
from openjepa.evaluation.tasks import count

TARGETS = {"colour": [0, 1, 2], "brightness": [3], "texture": [4], "position": [5, 6]}
SIDE = 64  # pixels at which appearance is measured

QUANTITIES = {"count": count_classes, "distance": distance_classes}


def fetch(session: Session, progress: Progress) -> None:
    fetch_embeddings(session, progress)
    for part in (session.train, session.test):
        appearance_of(session, part, progress)


def appearance_of(session: Session, part: Part, progress: Progress = no_progress) -> tuple[Tensor, np.ndarray]:
    """The appearance of the images of a part [n, 7], and their indices [n]."""
    return session.store.get(Appearance(*session.patches[::2]), part.dataset, "embedding", progress)


def run(session: Session) -> Iterator[Result]:
    """R2 of ridge regression for appearance; skill of a linear probe for labels, counts and distances."""
    parts = []
    for part in (session.train, session.test):
        features, kept = session.features(part)
        seen, same = appearance_of(session, part)
        parts.append((features.last, seen[np.searchsorted(same, kept)]))
    fit, validation = validation_split(len(parts[0][0]), session.seed)
    train, held = ((parts[0][0][rows], parts[0][1][rows]) for rows in (fit, validation))
    for name, (rows, strengths) in read_appearance(train, held, parts[1], session.probe_device).items():
        protocol = {"probe": "ridge regression", "strengths": strengths, "train_images": len(parts[0][0])}
        result = Result(f"appearance:{name}", "R2", rows, protocol, explained)
        truth = parts[1][1][:, TARGETS[name]].double().numpy()
        mean = parts[0][1][:, TARGETS[name]].double().mean(0).numpy()
        yield result.beside(explained_rows(truth, np.broadcast_to(mean, truth.shape)), "always the mean")
    yield from _semantics(session)


def _semantics(session: Session) -> Iterator[Result]:
    for answers in session.labels():
        yield _skill(f"semantics:{answers.name}", session.linear_result("semantics", answers), answers)
    for task in known_quantities(session):
        answers = QUANTITIES[task](session)
        yield _skill(f"semantics:{task}", quantity_result(session, answers), answers)


def known_quantities(session: Session) -> list[str]:
    """Of count and distance, what is known of all images and is not already a label of theirs."""
    known = [*session.train.targets.annotations.values(), *session.test.targets.annotations.values()]
    if not session.train.targets.annotations or not session.test.targets.annotations:
        return []
    tasks = ["count"] if any(annotation.distance is None for annotation in known) else ["count", "distance"]
    return [task for task in tasks if task not in session.train.dataset.labels]


def remarks(session: Session) -> list[str]:
    return count.remarks(session) if "count" in known_quantities(session) else []


def _skill(name: str, result: Result, answers: Answers) -> Result:
    commonest = answers.commonest
    found = Result(name, "skill", np.column_stack([result.rows, commonest]), result.protocol, skill)
    constant = np.column_stack([commonest, np.ones_like(commonest), commonest])
    return found.beside(constant, answers.commonest_answer)


def skill(sums: np.ndarray) -> np.ndarray:
    """The fraction avoided of the errors of always predicting the commonest class.

    From sums [..., 3] of right answers, of images, and of images of that class, which are drawn anew too.
    """
    right, images, commonest = np.moveaxis(sums, -1, 0)
    return (right - commonest) / np.maximum(images - commonest, 1)


class Appearance:
    """A model whose features [B, 7] are the appearance of an image, seen at up to 64 px a side.

    Colour: the means of red, green and blue, less brightness. Brightness: the mean of all three. Texture: the log of
    the mean squared difference of neighbouring pixels. Position: row and column, from -1 to 1, of the centre of that
    difference. Pixel values in [0, 1].
    """

    name, pixel_format = "appearance", RGB

    def __init__(self, image_size: tuple[int, int], max_stretch: float = 0.0) -> None:
        shrink = min(1.0, SIDE / max(image_size))
        self.image_size = max(2, round(image_size[0] * shrink)), max(2, round(image_size[1] * shrink))
        self.frame = Frame(self.image_size, max_stretch)

    def features(self, images: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] to float32 [B, 7]."""
        pixels = images.float() / 255
        means = pixels.mean((2, 3))
        brightness = means.mean(1, keepdim=True)
        down, across = pixels.diff(dim=2)[..., :-1], pixels.diff(dim=3)[:, :, :-1]
        energy = (down.square() + across.square()).mean(1)
        texture = (energy.mean((1, 2)) + 1e-6).log()[:, None]
        return torch.cat([means - brightness, brightness, texture, *_centre(energy)], dim=1)


def _centre(energy: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column [B, 1] of the centre of energy [B, H, W], from -1 to 1; 0 where there is none."""
    total = energy.sum((1, 2)).clamp(min=1e-12)
    row, column = (
        ((energy.sum(3 - axis) @ torch.linspace(-1, 1, energy.shape[axis])) / total)[:, None] for axis in (1, 2)
    )
    return row, column


def read_appearance(
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    device: torch.device | str = "cpu",
) -> dict[str, tuple[np.ndarray, tuple[float, ...]]]:
    """For each target, rows for `explained` and the strengths chosen: ridge regression of appearance on features.

    Each argument: features [n, D] and appearance [n, 7] of the same images.
    """
    fitted = ridge(*train, *validation, device)
    truth, guess = test[1].double().numpy(), fitted.predict(test[0]).double().numpy()
    return {
        name: (explained_rows(truth[:, columns], guess[:, columns]), tuple(fitted.strengths[k] for k in columns))
        for name, columns in TARGETS.items()
    }


def explained_rows(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Rows [m, 4 * T] of squared error, value, squared value and one, from truth and guess [m, T]."""
    centred = truth - truth.mean(0)  # the sums of squares would cancel badly otherwise
    return np.concatenate([(truth - guess) ** 2, centred, centred**2, np.ones_like(truth)], axis=1)


def explained(sums: np.ndarray) -> np.ndarray:
    """R2, the mean over targets of 1 - squared error / squared deviation from the mean; from summed rows [..., 4 T]."""
    error, value, square, n = np.split(sums, 4, axis=-1)
    return (1 - error / np.maximum(square - value**2 / n, 1e-12)).mean(-1)


TASK = Task("probe-appearance", "Colour, brightness and texture beside semantics", run, (), fetch, remarks)
