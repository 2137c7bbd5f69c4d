"""The requests and answers of the routes for odd images and for what the model expects."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from openjepa.exploring.anomalies.detection import LEAST
from openjepa.exploring.route import Answer, Body
from openjepa.exploring.schemas import MOST_PLACES, Place, Sent, Sides, in_order

MOST_NEAREST = 10


class DetectorBody(Body):
    normals: Annotated[list[Place], Field(min_length=LEAST, max_length=MOST_PLACES, description="normal images")]
    aligned: bool = Field(
        False, description="whether the same part is at the same place in all images: patches are then compared there"
    )


class SuspectNormal(Answer):
    id: int
    path: str
    above: float = Field(description="standard deviations above the median of all normal images")


class DetectorAnswer(Answer):
    state: Literal["none", "fitting", "scoring", "done", "stopped", "failed"]
    suspects: list[SuspectNormal] = Field(description="normal images that are far from all other normal images")
    error: str | None = None
    number: Annotated[int, Field(description="of the detector, counted from 1 since the server was started")] = 0
    given: Annotated[int, Field(description="images that were said to be normal")] = 0
    normals: Annotated[int, Field(description="how many of them it is fitted on")] = 0
    aligned: bool = False
    reads: Annotated[str | None, Field(description="what its scores are computed from, in words")] = None
    done: Annotated[int, Field(description="images that were read in this state, of `total`")] = 0
    total: int = 0
    scored: Annotated[int, Field(description="images that have a score")] = 0
    late: Annotated[bool, Field(description="whether scoring ended because its time was over")] = False
    how: Annotated[str | None, Field(description="by which images the spread of the scores is known, in words")] = None


class PatchMap(Answer):
    rows: int
    columns: int
    frame: tuple[float, float, float, float] = Field(description="what the grid covers, fractions of the upright image")
    values: list[float] = Field(description="of each patch, row by row")


class OddAnswer(PatchMap):
    score: float = Field(description="standard deviations above the mean of normal images; so are the values")


class ExpectationBody(Body):
    image: Place | Sent
    box: Annotated[Sides, AfterValidator(in_order)] = Field(
        description="left, top, right and bottom of what is hidden, fractions of the upright image"
    )
    top: Annotated[int, Field(ge=1, le=MOST_NEAREST, description="real patches for each hidden one")] = 5


class PutThere(Answer):
    name: str
    energy: float = Field(description="mean over patches and draws")
    low: float = Field(description="the least mean of a draw")
    high: float
    ratio: float | None = Field(description="over the energy of the true region")


class RealPatch(Answer):
    id: int
    path: str
    energy: float
    box: tuple[float, float, float, float] = Field(description="where in that image, fractions")


class HiddenPatch(Answer):
    box: tuple[float, float, float, float]
    energy: float = Field(description="of what is truly there")
    closer_than: float = Field(description="the fraction of real patches that are further from what is expected")
    nearest: list[RealPatch]


class ExpectationAnswer(Answer):
    rows: int
    columns: int
    frame: tuple[float, float, float, float] = Field(description="what the model sees, fractions of the upright image")
    box: tuple[float, float, float, float] = Field(description="the patches that are hidden, fractions")
    seen: float = Field(description="the fraction of the given box that the model sees")
    lines: list[str]
    contents: list[PutThere]
    patches: list[HiddenPatch]
