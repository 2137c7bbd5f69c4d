"""Routes that show an index: its map, columns, thumbnails, images and their facts."""

import numpy as np

from openjepa.data.crops import size_of
from openjepa.errors import BadImage, UsageError
from openjepa.exploring.collection import CLUSTER, OUTLIER, Collection, Refused
from openjepa.exploring.columns import MISSING, bounds, read_column, type_of
from openjepa.exploring.originals import as_jpeg, fitted
from openjepa.exploring.route import Answer, Asked, Content, checked_places, place_of
from openjepa.exploring.schemas import Column, ColumnAnswer, Facts, IndexAnswer, NamesAnswer, Run, UploadAnswer
from openjepa.indexing.searchable import FACTS

NEEDS = {CLUSTER: "clusters", OUTLIER: "outliers"}
MOST_NAMES = 500
UPLOAD_SIZE = 2048  # pixels of the longer side of an upload that is shown


def about(collection: Collection, _: Asked) -> Answer:
    index, run = collection.index, collection.run
    return IndexAnswer(
        name=index.folder.name,
        images=len(index),
        source=index.about.source,
        model=index.about.model,
        dimensions=index.about.dimensions,
        patches=index.has_patches,
        map=collection.method,
        map_ready=collection.method == "pca" or collection.slow["map"].ready or collection.map_is_stored,
        columns=[Column(name=name, type=type_of(collection, name)) for name in collection.columns],
        labels=collection.labels,
        run=Run(**run) if run else None,
        opened=collection.opened,
        page=collection.page,
    )


def needs_of_points(collection: Collection, asked: Asked) -> tuple[str, ...]:
    return (_map(collection, asked),)


def _map(collection: Collection, asked: Asked) -> str:
    wanted = asked.query.map or collection.method
    if wanted == "umap" != collection.method:
        raise UsageError("there is no map of UMAP: it takes 50 images or more, and pip install 'openjepa[explore]'")
    return "map" if wanted == collection.method else "pca"


def points(collection: Collection, asked: Asked) -> Content:
    name = _map(collection, asked)
    found: np.ndarray = collection.slow[name].get()
    return Content(found.astype("<f4").tobytes(), headers={"X-Map": collection.method if name == "map" else "pca"})


def needs_of_column(collection: Collection, asked: Asked) -> tuple[str, ...]:
    name = asked.path["name"]
    return (NEEDS[name],) if name in NEEDS and name not in collection.labels else ()


def column(collection: Collection, asked: Asked) -> Answer:
    name = asked.path["name"]
    found = read_column(collection, name)
    answer = ColumnAnswer(name=name, type=found.type, categories=found.categories)
    if found.categories is not None:
        return answer.model_copy(update={"missing": int((found.values == MISSING).sum())})
    low, high = bounds(found.values)
    return answer.model_copy(update={"min": low, "max": high, "missing": int(np.isnan(found.values).sum())})


def column_values(collection: Collection, asked: Asked) -> Content:
    found = read_column(collection, asked.path["name"])
    return Content(found.values.astype(found.values.dtype.newbyteorder("<")).tobytes())


def thumbnail(collection: Collection, asked: Asked) -> Content:
    place = place_of(collection, asked.path["id"])
    data = collection.index.rows_at([place], ["thumbnail"])["thumbnail"][0].as_py()
    if not data:
        raise Refused(404, f"image {place} has no thumbnail: the index is damaged")
    return Content(data, "image/webp", kept=asked.query.v == collection.opened)


def names(collection: Collection, asked: Asked) -> Answer:
    texts = asked.query.ids.split(",")
    if len(texts) > MOST_NAMES or not all(text.isascii() and text.isdecimal() and len(text) < 12 for text in texts):
        raise UsageError(f"ids is not understood: give 1 to {MOST_NAMES} places with commas between")
    places = checked_places(collection, [*map(int, texts)])
    return NamesAnswer(paths=[collection.path_at(place) for place in places])


def image(collection: Collection, asked: Asked) -> Content:
    place = place_of(collection, asked.path["id"])
    path = collection.path_at(place)
    try:
        return Content(as_jpeg(collection.originals.load(path, asked.query.size)), "image/jpeg")
    except UsageError as error:
        raise Refused(404, str(error)) from error
    except BadImage as error:
        raise Refused(404, f"{path} cannot be shown ({error})") from error


def facts(collection: Collection, asked: Asked) -> Answer:
    place = place_of(collection, asked.path["id"])
    labels = collection.labels
    (row,) = collection.index.rows_at([place], ("path", *FACTS, *labels)).to_pylist()
    captured = row["captured"] and row["captured"].isoformat(sep=" ")
    known = {name: row[name] for name in ("path", *FACTS)} | {"captured": captured}
    return Facts(id=place, labels={name: row[name] for name in labels}, **known)


def upload(collection: Collection, asked: Asked) -> Answer:
    if not asked.body:
        raise UsageError("the request has no image: send the bytes of a file as its body")
    width, height = size_of(collection.decoded(asked.body))
    return UploadAnswer(upload=collection.keep(asked.body), width=width, height=height)


def uploaded(collection: Collection, asked: Asked) -> Content:
    data = collection.sent_or_gone(asked.path["upload"])
    return Content(as_jpeg(fitted(collection.decoded(data), UPLOAD_SIZE)), "image/jpeg")
