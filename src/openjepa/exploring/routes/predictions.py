"""Routes of the predictor: energies of patches, and what is expected in a hidden box."""

from openjepa.exploring.anomalies.images import Given
from openjepa.exploring.anomalies.prediction import Expected, Near
from openjepa.exploring.anomalies.schemas import (
    ExpectationAnswer,
    ExpectationBody,
    HiddenPatch,
    PatchMap,
    PutThere,
    RealPatch,
)
from openjepa.exploring.collection import Collection
from openjepa.exploring.route import Answer, Asked, place_of
from openjepa.exploring.routes.anomalies import fractions_of
from openjepa.exploring.routes.queries import given_image
from openjepa.indexing.expectation import Content
from openjepa.indexing.regions import pixels_of

Sides = tuple[float, float, float, float]


def energy(collection: Collection, asked: Asked) -> Answer:
    return _energy(collection, place_of(collection, asked.path["id"]))


def energy_of_upload(collection: Collection, asked: Asked) -> Answer:
    return _energy(collection, collection.sent_or_gone(asked.path["upload"]))


def _energy(collection: Collection, image: Given) -> Answer:
    found = collection.predicting.energy(image)
    rows, columns = found.map.shape
    return PatchMap(
        rows=rows,
        columns=columns,
        frame=fractions_of(found.frame, found.size),
        values=found.map.flatten().tolist(),
    )


def expectation(collection: Collection, asked: Asked) -> Answer:
    wanted: ExpectationBody = asked.body
    found = collection.predicting.expected(given_image(collection, wanted.image), wanted.box, wanted.top)
    expected, size, encoder = found.found, found.found.asked.shown.size, found.found.energies.encoder
    rows, columns = encoder.grid_size
    contents = expected.contents()
    true = _mean(contents[0])
    return ExpectationAnswer(
        rows=rows,
        columns=columns,
        frame=fractions_of(encoder.frame, size),
        box=_fractions(pixels_of(found.boxed.window, size, encoder.frame, encoder.grid_size), size),
        seen=found.boxed.seen,
        lines=expected.lines(),
        contents=[_content(content, true) for content in contents],
        patches=[*_patches(collection, found)],
    )


def _mean(content: Content) -> float:
    return sum(content.means) / len(content.means)


def _content(content: Content, true: float) -> PutThere:
    mean, means = _mean(content), content.means
    ratio = mean / true if true > 0 else None
    return PutThere(name=content.name, energy=mean, low=min(means), high=max(means), ratio=ratio)


def _patches(collection: Collection, found: Expected) -> list[HiddenPatch]:
    expected, closer = found.found, found.found.closer_than()[0].tolist()
    true, size = expected.imagined.true[0].tolist(), expected.asked.shown.size
    return [
        HiddenPatch(
            box=_fractions(expected.box_of(-1, place), size),
            energy=true[row],
            closer_than=closer[row],
            nearest=[_real(collection, near) for near in found.near[row]],
        )
        for row, place in enumerate(expected.places)
    ]


def _real(collection: Collection, near: Near) -> RealPatch:
    path = collection.path_at(near.image)
    return RealPatch(id=near.image, path=path, energy=near.energy, box=_fractions(near.box, near.size))


def _fractions(box: tuple[int, int, int, int], size: tuple[int, int]) -> Sides:
    return box[0] / size[0], box[1] / size[1], box[2] / size[0], box[3] / size[1]
