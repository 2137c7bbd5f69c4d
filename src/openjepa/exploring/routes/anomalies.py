"""Routes of the detector: it is fitted on images that are normal, and scores all others."""

import csv
import io

import numpy as np

from openjepa.data.crops import Frame
from openjepa.escaping import csv_cell, utf8
from openjepa.exploring.anomalies.detection import Detection
from openjepa.exploring.anomalies.images import Given
from openjepa.exploring.anomalies.schemas import DetectorAnswer, DetectorBody, OddAnswer, SuspectNormal
from openjepa.exploring.collection import Collection, Refused
from openjepa.exploring.route import CSV, Answer, Asked, Content, checked_places, place_of

NONE = "there is no detector: say with POST /api/detector which images are normal"
BUSY = "a detector is being made: wait for it, or stop it with DELETE /api/detector"
NOT_YET = "the detector has no scores yet: wait for it"


def fit(collection: Collection, asked: Asked) -> Answer:
    wanted: DetectorBody = asked.body
    places = np.unique(np.array(checked_places(collection, wanted.normals), np.int64))
    if len(places) < 2:
        raise Refused(400, "the same image was given twice: give 2 normal images or more")
    started = collection.detecting.fit(places, wanted.aligned)
    if started is None:
        raise Refused(409, BUSY)
    return told(collection, started)


def status(collection: Collection, _: Asked) -> Answer:
    return told(collection, collection.detecting.current)


def forget(collection: Collection, _: Asked) -> Answer:
    collection.detecting.forget()
    return DetectorAnswer(state="none", suspects=[])


def told(collection: Collection, detection: Detection | None) -> Answer:
    if detection is None:
        return DetectorAnswer(state="none", suspects=[])
    return DetectorAnswer(
        state=detection.state,
        error=detection.error,
        number=detection.number,
        given=len(detection.given),
        normals=len(detection.normals),
        aligned=detection.aligned,
        reads=detection.what,
        done=detection.done,
        total=detection.total,
        scored=detection.scored,
        late=detection.late,
        how=detection.known.how if detection.known else None,
        suspects=[
            SuspectNormal(id=place, path=collection.path_at(place), above=above) for place, above in detection.suspects
        ],
    )


def fitted(collection: Collection) -> Detection:
    """The detector, if it is fitted. Raises Refused."""
    detection = collection.detecting.current
    if detection is None:
        raise Refused(404, NONE)
    if detection.known is None:
        raise Refused(404, detection.error or NOT_YET)
    return detection


def scores(collection: Collection, _: Asked) -> Content:
    detection = fitted(collection)
    return Content(detection.scores[:, 0].astype("<f4").tobytes(), headers={"X-Detector": str(detection.number)})


def table(collection: Collection, _: Asked) -> Content:
    """The images that have a score, the oddest first."""
    detection = fitted(collection)
    found = detection.scores
    order = np.argsort(-found[:, 0], kind="stable")
    order = order[~np.isnan(found[order, 0])]
    normal = np.isin(order, detection.normals)
    stream = io.StringIO(newline="")
    rows = csv.writer(stream)
    rows.writerow(["path", "score", "normal", *detection.names])
    for place, known in zip(order.tolist(), normal.tolist(), strict=True):
        score, *others = (f"{value:z.5g}" for value in found[place].tolist())
        rows.writerow([csv_cell(collection.path_at(place)), score, "yes" if known else "", *others])
    return Content(utf8(stream.getvalue()).encode(), CSV, {"Content-Disposition": 'attachment; filename="odd.csv"'})


def odd(collection: Collection, asked: Asked) -> Answer:
    return _odd(collection, place_of(collection, asked.path["id"]))


def odd_upload(collection: Collection, asked: Asked) -> Answer:
    return _odd(collection, collection.sent_or_gone(asked.path["upload"]))


def _odd(collection: Collection, image: Given) -> Answer:
    found = fitted(collection).odd_places(image)
    rows, columns = found.map.shape
    frame = fractions_of(found.frame, collection.size_of(image))
    return OddAnswer(rows=rows, columns=columns, frame=frame, values=found.map.flatten().tolist(), score=found.score)


def fractions_of(frame: Frame, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """What a frame shows of an image of `size` (width, height), in fractions."""
    (width, height), (left, top, right, bottom) = size, frame.box(*size)
    return left / width, top / height, right / width, bottom / height
