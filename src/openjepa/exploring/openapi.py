"""The document of the API (OpenAPI 3.1), and its page of reference: both are made of the table of routes."""

import re
from collections.abc import Sequence
from typing import Any, Literal

from openjepa._version import __version__
from openjepa.exploring.route import JSON, Route
from openjepa.exploring.routes.table import ROUTES
from openjepa.safety.schema import Schema, adapter

ADDRESS = "/api/openapi.json"
REF = "#/components/schemas/{model}"
ERRORS = {
    400: "The request is not possible",
    401: "The token is missing or wrong",
    403: "Another Host, or a page of another origin",
    404: "There is no such image or address",
    405: "The address does not take this method",
    408: "The request did not arrive in time",
    409: "Another such job is running",
    413: "The body is too large",
    500: "The server failed at the request",
    503: "The server is busy, or the index was brought up to date, which needs a new start",
}


def document(routes: Sequence[Route] = ROUTES) -> dict[str, Any]:
    """OpenAPI 3.1 of some routes, as plain values."""
    schemas: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    schemas["Error"] = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "openjepa",
            "version": __version__,
            "description": "Images and a model over HTTP.",
        },
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    text = {"type": "string"}
    given = [
        {"name": name, "in": "path", "required": True, "schema": text, "description": route.words[name]}
        for name in parts_of(route.path)
    ]
    found: dict[str, Any] = {"summary": route.about, "operationId": _name(route), "parameters": given + _query(route)}
    if isinstance(route.body, int):
        found["requestBody"] = {"required": True, "content": {"image/*": {}}}
    elif route.body is not None:
        found["requestBody"] = {"required": True, "content": {JSON: {"schema": _schema(route.body, schemas)}}}
    content: dict[str, Any] = {}
    if isinstance(route.gives, tuple):
        content = {media: {} for media in route.gives}
    else:
        content = {JSON: {"schema": _schema(route.gives, schemas)}}
    found["responses"] = {"200": {"description": "Done", "content": content}}
    refused = {JSON: {"schema": {"$ref": REF.format(model="Error")}}}
    found["responses"] |= {str(code): {"description": words, "content": refused} for code, words in ERRORS.items()}
    return found


def parts_of(path: str) -> list[str]:
    """The names in braces of a path."""
    return re.findall(r"{(\w+)}", path)


def _name(route: Route) -> str:
    return "_".join([route.method.lower(), *re.findall(r"\w+", route.path.removeprefix("/api"))])


def _query(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schema = adapter(route.query).json_schema()
    needed = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in needed, "schema": about}
        for name, about in schema["properties"].items()
    ]


def _schema(kind: type, schemas: dict[str, Any]) -> dict[str, Any]:
    """A reference to the schema of a class, which is added to `schemas` with all that it names."""
    mode: Literal["validation", "serialization"] = "validation" if issubclass(kind, Schema) else "serialization"
    found = adapter(kind).json_schema(ref_template=REF, mode=mode)
    schemas.update(found.pop("$defs", {}))
    schemas[kind.__name__] = found
    return {"$ref": REF.format(model=kind.__name__)}
