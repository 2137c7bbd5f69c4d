"""The requests and answers of the API, as classes of which its document is made."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from openjepa.exploring.route import Answer, Body, Query
from openjepa.safety.schema import Fraction

Place = Annotated[int, Field(ge=0, lt=2**31, description="an image of the index, by its place from 0")]
Sent = Annotated[str, Field(pattern="^u[0-9]{1,15}$", description="an upload")]
MOST_EXAMPLES, MOST_PLACES = 1000, 1_000_000


Sides = tuple[Fraction, Fraction, Fraction, Fraction]


def in_order(box: Sides) -> Sides:
    """A box, if it has an area. Raises ValueError."""
    left, top, right, bottom = box
    if left >= right or top >= bottom:
        raise ValueError("left must be less than right, and top less than bottom, in fractions of the image")
    return box


class ImageSize(Query):
    size: Annotated[int, Field(ge=64, le=2048, description="pixels of the longer side, at most")] = 1024


class MapKind(Query):
    map: Literal["umap", "pca"] | None = Field(None, description="pca is quick; left out, that of the index")


class Version(Query):
    v: str = Field("", description="`opened` of /api/index, with which the browser keeps the thumbnail")


class Ids(Query):
    ids: str = Field(description="1 to 500 places of images, with commas between")


class Point(Query):
    x: Annotated[Fraction, Field(description="from the left, a fraction of the upright image")]
    y: Annotated[Fraction, Field(description="from the top")]


class Top(Query):
    top: Annotated[int, Field(ge=1, le=10_000, description="how many images")] = 200


class SearchBody(Body):
    image: Place | Sent | None = None
    like: list[Place | Sent] = Field([], max_length=100)
    unlike: list[Place | Sent] = Field([], max_length=100)
    box: Annotated[Sides, AfterValidator(in_order)] | None = Field(
        None, description="left, top, right and bottom of a part of `image`, fractions of the upright image"
    )
    where: str | None = Field(None, description="a condition, as openjepa search --where takes it")
    top: Annotated[int, Field(ge=1, le=500)] = 50


class WhereBody(Body):
    where: str


class ExamplesBody(Body):
    yes: Annotated[list[Place], Field(min_length=1, max_length=MOST_EXAMPLES)]
    no: list[Place] = Field([], max_length=MOST_EXAMPLES)


class ExportBody(Body):
    ids: Annotated[list[Place], Field(min_length=1, max_length=MOST_PLACES)]
    name: str | None = Field(None, max_length=200, description="a label that the images are given")
    format: Literal["csv", "paths"] = "csv"


class Column(Answer):
    name: str
    type: Literal["category", "number", "time", "text"]


class Run(Answer):
    verdict: str | None
    rank: float | None
    knn: float | None
    linear: float | None
    done: int | None
    steps: int | None
    images: int | None


class IndexAnswer(Answer):
    name: str
    images: int
    source: str
    model: str
    dimensions: int
    patches: bool
    map: Literal["umap", "pca"]
    map_ready: bool
    columns: list[Column]
    labels: list[str]
    run: Run | None
    opened: str
    page: bool


class ColumnAnswer(Column):
    categories: list[str] | None = None
    min: float | None = None
    max: float | None = None
    missing: int = 0


class Facts(Answer):
    id: int
    path: str
    folder: str | None
    width: int | None
    height: int | None
    bytes: int | None
    captured: str | None
    brightness: float | None
    contrast: float | None
    sharpness: float | None
    labels: dict[str, str | float | None]


class NamesAnswer(Answer):
    paths: list[str]


class Similarity(Answer):
    rows: int
    columns: int
    frame: tuple[float, float, float, float] = Field(description="what the grid covers, fractions of the upright image")
    values: list[float] = Field(description="cosine of each patch, row by row")


class UploadAnswer(Answer):
    upload: str
    width: int
    height: int


class Result(Answer):
    id: int
    path: str
    cosine: float
    percentile: float | None = None
    score: float | None = None
    box: tuple[float, float, float, float] | None = None


class SearchAnswer(Answer):
    results: list[Result]


class Copy(Answer):
    id: int
    path: str
    kind: str
    similarity: float | None


class CopyGroup(Answer):
    keep: int
    images: list[Copy]


class DuplicatesAnswer(Answer):
    total: int
    groups: list[CopyGroup]


class Outlier(Answer):
    id: int
    path: str
    score: float
    neighbours: list[int]


class OutliersAnswer(Answer):
    images: list[Outlier]


class Cluster(Answer):
    cluster: int
    size: int
    typical: list[int]
    nearest: int | None


class ClustersAnswer(Answer):
    clusters: list[Cluster]
