"""Typed schemas for JSON that comes from outside: every field is checked before anything uses it.

A schema is a subclass of `Schema` with bounded fields. `read_json`, `parse_json` and `checked` turn whatever is
wrong with a file or a value into one `UsageError` that names the file, the field and what to do.
"""

import functools
import json
import math
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticSerializationError, to_json

from openjepa.errors import UsageError
from openjepa.escaping import utf8

MAX_BYTES = 2**22  # of a JSON file, unless its reader allows more: parsed, it takes some 30 times as much memory
MAX_TEXT = 10_000  # characters of a text
SHOWN = 60  # characters of a wrong value or of a field's name in a message
BRANCH = "constrained-"  # begins what pydantic names an alternative of a type by, among the parts of a field's name

Kind = TypeVar("Kind")


class Schema(BaseModel):
    """Base of all schemas: types are not converted, NaN and infinite numbers are refused, unknown keys are ignored.

    Whole numbers count as floats; JSON lists fill tuples. A schema that refuses unknown keys sets extra="forbid".
    """

    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", allow_inf_nan=False, str_max_length=MAX_TEXT, protected_namespaces=()
    )


def _finite(value: Any) -> Any:
    """Refuse NaN and infinite numbers anywhere in a JSON value."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("numbers must be finite")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _finite(part)
    return value


def _in_utf8(value: Any) -> Any:
    """A text as JSON can hold it, as the name of a folder may not be; other values as they are."""
    return utf8(value) if isinstance(value, str) else value


Count = Annotated[int, Field(ge=0, lt=2**53)]
PositiveInt = Annotated[int, Field(ge=1, lt=2**53)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(max_length=MAX_TEXT), BeforeValidator(_in_utf8)]
Name = Annotated[str, Field(max_length=1000)]
Json = Annotated[JsonValue, AfterValidator(_finite)]  # any JSON value that is kept or shown, but not acted on


def read_json(path: Path, kind: type[Kind], what_to_do: str, max_bytes: int = MAX_BYTES) -> Kind:
    """A JSON file as `kind`: a Schema, or a type made of some, as list[Schema].

    Raises UsageError if the file is missing, not a regular file, larger than `max_bytes`, not JSON, nested more than
    200 deep, or a field does not fit. `what_to_do` ends the message.
    """
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is not a regular file: {what_to_do}")
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UsageError(f"cannot read {path} ({getattr(error, 'strerror', None) or error}): {what_to_do}") from error
    if len(content) > max_bytes:
        raise UsageError(f"{path} is larger than {max_bytes:,} bytes, the most that is read: {what_to_do}")
    return parse_json(content, kind, str(path), what_to_do)


def parse_json(content: bytes | str, kind: type[Kind], where: str, what_to_do: str) -> Kind:
    """JSON text as `kind`. Raises UsageError that begins with `where`, the name of the file."""
    try:
        return parsed(kind, content)
    except ValueError as error:
        raise UsageError(f"{where} is damaged: {error}: {what_to_do}") from error


def checked(kind: type[Kind], value: Any, where: str, what_to_do: str) -> Kind:
    """A value of plain Python types, as JSON has them, as `kind`. Raises UsageError as `parse_json` does."""
    try:
        return fitted(kind, value)
    except ValueError as error:
        raise UsageError(f"{where} is damaged: {error}: {what_to_do}") from error


def fitted(kind: type[Kind], value: Any) -> Kind:
    """A value of plain Python types as `kind`. Raises ValueError with what is wrong in a few words."""
    try:
        return parsed(kind, to_json(value, inf_nan_mode="constants"))
    except (PydanticSerializationError, RecursionError) as error:
        raise ValueError("it holds other than plain values") from error


def parsed(kind: type[Kind], content: bytes | str) -> Kind:
    """JSON text as `kind`. Raises ValueError with what is wrong in a few words."""
    try:
        return cast(Kind, adapter(cast(Any, kind)).validate_json(content))
    except ValidationError as error:
        raise ValueError(violation(error)) from error


@functools.cache
def adapter(kind: Any) -> TypeAdapter:
    """The validator of a type, built once."""
    return TypeAdapter(kind)


def violation(error: ValidationError) -> str:
    """The first thing that is wrong, in a few words: the field, its value and what is allowed."""
    first = error.errors(include_url=False)[0]
    field = shortened(".".join(str(part) for part in first["loc"] if not str(part).startswith(BRANCH)))
    message = first["msg"][:1].lower() + first["msg"][1:]
    if first["type"] == "value_error":
        return f"{field}: {first['ctx']['error']}".removeprefix(": ")
    if first["type"] == "json_invalid":
        return message
    if first["type"] == "missing":
        return f"{field} is missing"
    given = shortened(_as_json(first["input"]))
    return f"{field} is {given} ({message})" if field else f"{given} ({message})"


def shortened(text: str) -> str:
    """Text that is safe in a message: one line of ASCII, at most `SHOWN` characters."""
    plain = json.dumps(text[: SHOWN + 1])[1:-1].replace('\\"', '"').replace("\x7f", "\\u007f")
    return plain if len(plain) <= SHOWN else plain[: SHOWN - 3] + "..."


def _as_json(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return value if isinstance(value, str) and value else json.dumps(value, default=repr)
