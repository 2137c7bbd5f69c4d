"""What a route of the server is: the request that it takes, and the function that answers it."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from openjepa.errors import UsageError
from openjepa.exploring.collection import Collection, Refused
from openjepa.safety.schema import Schema, parsed

MOST_JSON = 2**24  # bytes of a body: a list of a million images is smaller
OCTETS, JSON = "application/octet-stream", "application/json"
TEXT, CSV = "text/plain; charset=utf-8", "text/csv; charset=utf-8"


class Query(Schema):
    """Base of what stands behind the ? of an address, where numbers are texts."""

    model_config = ConfigDict(strict=False)


class Body(Schema):
    """Base of a request's body; an unknown key is refused, because it is a mistake of the program that sends it."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """Base of an answer in JSON."""


class Content(NamedTuple):
    """An answer of another media type; `kept` says that a browser may keep it, since its address changes with it."""

    data: bytes
    media: str = OCTETS
    headers: Mapping[str, str] = {}
    kept: bool = False


class Asked(NamedTuple):
    """A request: the parts of its path by name, its query and its body as the route takes them."""

    path: Mapping[str, str]
    query: Any = None
    body: Any = None


class Route(NamedTuple):
    """An entry of the table of routes, of which the document of the API is made.

    answer   called in a thread; raises UsageError (status 400) or Refused
    gives    the media types that the answer can have, or its class where it is JSON
    query    what stands behind the ?; body: what is sent, a Body or at most so many bytes
    needs    names of what must have been computed (`Collection.slow`), which may take long
    model    whether a server of a model, which has no index, gives it too
    computes whether it computes with all vectors: one such request runs at a time, so that others find a thread
    words    what is said of the parts of the path in braces
    """

    method: str
    path: str
    about: str
    answer: Callable[[Any, Asked], Answer | Content]
    gives: type[Answer] | tuple[str, ...] = (OCTETS,)
    query: type[Query] | None = None
    body: type[Body] | int | None = None
    needs: Callable[[Any, Asked], tuple[str, ...]] = lambda *_: ()
    words: Mapping[str, str] = {}
    computes: bool = False
    model: bool = False


def understood(kind: type[Schema], text: bytes | str) -> Any:
    """JSON of a request as its class. Raises UsageError."""
    try:
        return parsed(kind, text)
    except ValueError as error:
        raise UsageError(f"the request is not possible: {error}") from error


def by_keys(route: Route, sentence: str) -> str:
    """A sentence of the command line as one of the API: options that are keys of the body by the names of these."""
    keys = route.body.model_fields if isinstance(route.body, type) else ()
    return re.sub(r"--(\w+)", lambda found: found[1] if found[1] in keys else found[0], sentence)


def place_of(collection: Collection, text: str) -> int:
    """The place of the image that a path names. Raises Refused where there is none."""
    place = int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else -1
    if not 0 <= place < len(collection.index):
        raise Refused(404, f"there is no image {text[:12]}: the index holds {len(collection.index):,}, numbered from 0")
    return place


def checked_places(collection: Collection, places: list[int]) -> list[int]:
    """Places of a request's body. Raises UsageError where one is none of the index."""
    count = len(collection.index)
    if wrong := next((place for place in places if not 0 <= place < count), None):
        raise UsageError(f"there is no image {wrong}: the index holds {count:,}, numbered from 0")
    return places
