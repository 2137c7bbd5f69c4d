"""Routes that list copies, odd images and groups, and that write lists of images."""

import csv
import io

import numpy as np
import pyarrow as pa

from openjepa.escaping import csv_cell, utf8, visible
from openjepa.exploring.collection import Collection
from openjepa.exploring.route import CSV, TEXT, Answer, Asked, Content, checked_places
from openjepa.exploring.schemas import (
    Cluster,
    ClustersAnswer,
    Copy,
    CopyGroup,
    DuplicatesAnswer,
    ExportBody,
    Outlier,
    OutliersAnswer,
)
from openjepa.indexing.curation.outliers import SHOWN

MOST_GROUPS, TYPICAL = 1000, 12
KEEP = "keep"


def copies(collection: Collection, _: Asked) -> Answer:
    table: pa.Table = collection.slow["duplicates"].get()
    total = max(table["group"].to_pylist(), default=0)
    shown = table.filter(pa.compute.less_equal(table["group"], MOST_GROUPS))
    groups: dict[int, CopyGroup] = {}
    for row, place in zip(shown.to_pylist(), collection.places_of(shown["path"].combine_chunks()), strict=True):
        group = groups.setdefault(row["group"], CopyGroup(keep=place, images=[]))
        group.images.append(Copy(id=place, path=row["path"], kind=row["kind"], similarity=row["cosine"]))
        if row["kind"] == KEEP:
            group.keep = place
    return DuplicatesAnswer(total=total, groups=list(groups.values()))


def odd(collection: Collection, asked: Asked) -> Answer:
    score, _, places = collection.outlier_scores
    order = np.argsort(-score, kind="stable")[: asked.query.top].tolist()
    return OutliersAnswer(
        images=[
            Outlier(
                id=place,
                path=collection.path_at(place),
                score=float(score[place]),
                neighbours=places[place, :SHOWN].tolist(),
            )
            for place in order
        ]
    )


def groups(collection: Collection, _: Asked) -> Answer:
    found = collection.grouped
    order = np.lexsort((-found.cosine, found.cluster))
    starts = np.concatenate([[0], np.cumsum(found.sizes)])
    return ClustersAnswer(
        clusters=[
            Cluster(
                cluster=number + 1,
                size=int(size),
                typical=order[starts[number] : starts[number] + min(TYPICAL, int(size))].tolist(),
                nearest=int(found.nearest[number]) or None,
            )
            for number, size in enumerate(found.sizes)
            if size
        ]
    )


def export(collection: Collection, asked: Asked) -> Content:
    wanted: ExportBody = asked.body
    places = checked_places(collection, wanted.ids)
    paths = collection.paths.take(pa.array(places)).to_pylist()
    if wanted.format == "paths":
        text, name = "".join(f"{visible(path)}\n" for path in paths), "images.txt"
    else:
        columns, label = ["path", *(["label"] if wanted.name else [])], [wanted.name] if wanted.name else []
        stream = io.StringIO(newline="")
        csv.writer(stream).writerows([*map(csv_cell, row)] for row in [columns, *([path, *label] for path in paths)])
        text, name = stream.getvalue(), "images.csv"
    media = TEXT if wanted.format == "paths" else CSV
    return Content(utf8(text).encode(), media, {"Content-Disposition": f'attachment; filename="{name}"'})
