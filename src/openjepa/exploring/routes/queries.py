"""Routes that compare images: searches, conditions, patches, and labels by example."""

import numpy as np

from openjepa.data.crops import Box
from openjepa.errors import UsageError
from openjepa.exploring.collection import Collection
from openjepa.exploring.examples import scores_of
from openjepa.exploring.route import Answer, Asked, Content, checked_places, place_of
from openjepa.exploring.schemas import ExamplesBody, Point, Result, SearchAnswer, SearchBody, Similarity, WhereBody
from openjepa.indexing.regions import BOX


def given_image(collection: Collection, given: int | str) -> int | bytes:
    """An image of the index, or what was sent. Raises UsageError."""
    return checked_places(collection, [given])[0] if isinstance(given, int) else collection.sent(given)


def search(collection: Collection, asked: Asked) -> Answer:
    wanted: SearchBody = asked.body
    image = None if wanted.image is None else given_image(collection, wanted.image)
    like, unlike = ([given_image(collection, each) for each in some] for some in (wanted.like, wanted.unlike))
    box = None
    if wanted.box is not None and image is not None:
        box = _box(collection, wanted.box, collection.size_of(image))
    elif wanted.box is not None:
        raise UsageError("box is a part of image: give that image")
    with collection.searching:
        places, found = collection.index.nearest(
            image, like=like, unlike=unlike, where=wanted.where, top=wanted.top, box=box
        )
    return SearchAnswer(results=_results(collection, places, found))


def _box(collection: Collection, given: Box, size: tuple[int, int]) -> Box:
    """A box in fractions as one in pixels. Raises UsageError where the model does not see it."""
    (width, height), (left, top, right, bottom) = size, given
    x0, y0, x1, y1 = collection.index.regions.grid.frame.box(width, height)
    if right * width <= x0 or bottom * height <= y0 or left * width >= x1 or top * height >= y1:
        seen = f"{x0 / width:.3g}, {y0 / height:.3g}, {x1 / width:.3g}, {y1 / height:.3g}"
        raise UsageError(f"box is outside of what the model sees of the image, {seen}: give a box in that")
    return left * width, top * height, right * width, bottom * height


def _results(collection: Collection, places: np.ndarray, found: dict) -> list[Result]:
    columns = {name: np.asarray(values).tolist() for name, values in found.items()}
    boxes: list = [None] * len(places)
    if BOX[0] in columns:
        sides = list(zip(*(columns.pop(name) for name in BOX), strict=True))
        sizes = collection.index.sizes_at(places)
        boxes = [
            (x0 / width, y0 / height, x1 / width, y1 / height)
            for (x0, y0, x1, y1), (width, height) in zip(sides, sizes, strict=True)
        ]
    return [
        Result(
            id=place, path=collection.path_at(place), box=boxes[row], **{name: columns[name][row] for name in columns}
        )
        for row, place in enumerate(places.tolist())
    ]


def where(collection: Collection, asked: Asked) -> Content:
    wanted: WhereBody = asked.body
    return Content(collection.index.rows_where(wanted.where).astype(np.uint8).tobytes())


def similarity(collection: Collection, asked: Asked) -> Answer:
    return _similarity(collection, place_of(collection, asked.path["id"]), asked.query)


def similarity_of_upload(collection: Collection, asked: Asked) -> Answer:
    return _similarity(collection, collection.sent_or_gone(asked.path["upload"]), asked.query)


def _similarity(collection: Collection, image: int | bytes, point: Point) -> Answer:
    """The cosine of the patch at a point to every patch of an image, whitened as region search has them."""
    (width, height), tokens = collection.patches_of(image)
    grid = collection.index.regions.grid
    left, top, right, bottom = grid.frame.box(width, height)
    across = _patch((point.x * width - left) / (right - left), grid.columns)
    down = _patch((point.y * height - top) / (bottom - top), grid.rows)
    values = tokens @ tokens[down * grid.columns + across]
    frame = left / width, top / height, right / width, bottom / height
    return Similarity(rows=grid.rows, columns=grid.columns, frame=frame, values=values.tolist())


def _patch(fraction: float, count: int) -> int:
    return min(count - 1, max(0, int(fraction * count)))


def examples(collection: Collection, asked: Asked) -> Content:
    wanted: ExamplesBody = asked.body
    yes, no = checked_places(collection, wanted.yes), checked_places(collection, wanted.no)
    if both := set(yes) & set(no):
        raise UsageError(f"image {min(both)} is in yes and in no: give it in one of them")
    with collection.searching:
        return Content(scores_of(collection.index, yes, no).astype("<f4").tobytes())
