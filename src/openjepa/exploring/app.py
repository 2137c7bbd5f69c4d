"""The application: requests are read within limits, answered in threads, and every error is one sentence in JSON."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from pathlib import Path

import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as Address

from openjepa.errors import BadImage, UsageError, print_error
from openjepa.exploring.anomalies.detection import OUTDATED
from openjepa.exploring.collection import Collection, ModelHost, Refused
from openjepa.exploring.guard import KEEP, error
from openjepa.exploring.openapi import ADDRESS, document
from openjepa.exploring.route import JSON, MOST_JSON, Answer, Asked, Content, Route, by_keys, understood
from openjepa.exploring.routes.table import ROUTES
from openjepa.indexing.store import Outdated

BODY_SECONDS = 30  # in which the body of a request must have come
WAIT_SECONDS = 30  # in which a large body must find a place among those that are read
SMALL = 2**16  # bytes of a body that many requests may have at a time; of larger ones only some are in memory
LARGE_AT_ONCE, THREADS = 4, 8
STATIC = Path(__file__).parent / "static"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".json": JSON,
}
NO_PAGE = "the page is not in this copy of openjepa: build it with make web"
Respond = Callable[[Request], Awaitable[Response]]


def make_app(collection: Collection | ModelHost) -> Starlette:
    """The application, without the checks of `Guard`, for an index or a model; with the page where there is one."""
    routes = [route for route in ROUTES if route.model or isinstance(collection, Collection)]
    threads, computing = anyio.CapacityLimiter(THREADS), anyio.CapacityLimiter(1)
    large = asyncio.Semaphore(LARGE_AT_ONCE)
    addresses = [
        Address(
            route.path,
            _respond(route, collection, computing if route.computes else threads, large),
            methods=[route.method],
        )
        for route in routes
    ]
    addresses.append(Address(ADDRESS, _fixed(lambda _: JSONResponse(document(routes))), methods=["GET"]))
    if collection.page:
        addresses += [
            Address("/", _fixed(lambda _: _file("index.html")), methods=["GET"]),
            Address("/static/{name}", _fixed(lambda request: _file(request.path_params["name"])), methods=["GET"]),
        ]
    app = Starlette(routes=addresses, exception_handlers={HTTPException: _no_address})  # type: ignore[dict-item]
    app.router.redirect_slashes = False
    return app


def _fixed(answer: Callable[[Request], Response]) -> Respond:
    async def respond(request: Request) -> Response:
        return answer(request)

    return respond


@cache
def _page_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in KINDS and path.is_file()}


def _file(name: str) -> Response:
    """A file of the page, by its name among those that were found at the start."""
    data = _page_files().get(name)
    if data is None:
        return error(404, NO_PAGE if name == "index.html" else "there is nothing at this address")
    return Response(data, media_type=KINDS[Path(name).suffix], headers={"Cache-Control": "no-cache"})


async def _no_address(request: Request, problem: Exception) -> Response:
    status = problem.status_code if isinstance(problem, HTTPException) else 400
    sentence = {404: "there is nothing at this address", 405: f"this address does not take {request.method[:20]}"}
    return error(status, sentence.get(status, "the request is not understood") + f": see {ADDRESS}")


def _respond(
    route: Route, collection: Collection | ModelHost, threads: anyio.CapacityLimiter, large: asyncio.Semaphore
) -> Respond:
    """What answers the requests of a route."""

    async def answered(request: Request) -> Response:
        asked = await _asked(route, request, large)
        for name in route.needs(collection, asked):
            await asyncio.wrap_future(collection.slow[name].start())
        return _response(await anyio.to_thread.run_sync(route.answer, collection, asked, limiter=threads))

    async def respond(request: Request) -> Response:
        try:
            return await answered(request)
        except Refused as problem:
            return error(problem.status, str(problem))
        except Outdated:
            return error(503, OUTDATED)
        except (UsageError, BadImage) as problem:
            return error(400, by_keys(route, str(problem)))
        except ClientDisconnect:
            return error(400, "the request ended before it was complete")
        except TimeoutError:
            return error(408, f"the request did not come within {BODY_SECONDS} seconds: send it again")
        except Exception as problem:
            print_error(f"{route.method} {route.path} failed: {type(problem).__name__}: {problem}")
            return error(500, "the server failed at this request: it has printed why")

    return respond


def _response(found: Answer | Content) -> Response:
    if isinstance(found, Answer):
        return Response(found.model_dump_json(exclude_none=False), media_type=JSON)
    kept = {"Cache-Control": KEEP} if found.kept else {}
    return Response(found.data, headers={"Content-Type": found.media, **found.headers, **kept})


async def _asked(route: Route, request: Request, large: asyncio.Semaphore) -> Asked:
    """The request as its route takes it. Raises UsageError and Refused."""
    given = dict(request.query_params)
    query = route.query and understood(route.query, json.dumps(given))
    body: object = None
    if isinstance(route.body, int):
        body = await _body(request, route.body, large)
    elif route.body is not None:
        body = understood(route.body, await _body(request, MOST_JSON, large))
    return Asked(request.path_params, query, body)


async def _body(request: Request, most: int, large: asyncio.Semaphore) -> bytes:
    """The body of a request, which must come in time. Raises Refused for one of more than `most` bytes."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise Refused(413, f"the body is larger than {most:,} bytes, the most that is read here")
    small = length.isdecimal() and int(length) <= SMALL
    async with contextlib.nullcontext() if small else _place_among(large), asyncio.timeout(BODY_SECONDS):
        return await _read(request, most)


@contextlib.asynccontextmanager
async def _place_among(large: asyncio.Semaphore) -> AsyncIterator[None]:
    """One of the places for large bodies. Raises Refused where none becomes free in time."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await large.acquire()
    except TimeoutError as error:
        raise Refused(503, "the server is busy with other large requests: send it again later") from error
    try:
        yield
    finally:
        large.release()


async def _read(request: Request, most: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise Refused(413, f"the body is larger than {most:,} bytes, the most that is read here")
        parts.append(part)
    return b"".join(parts)
