"""Weights from the Hub and the web: downloads that resume; hashes recorded the first time and checked later."""

import os
import re
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field

from openjepa.errors import UsageError
from openjepa.files import cache_folder, file_hash, write_json
from openjepa.interop.weights.files import FETCH, INDEX, Index
from openjepa.interop.weights.pickles import first_line
from openjepa.optional import require
from openjepa.safety.schema import Count, Schema, Text, read_json

WANTED = ("config.json", "preprocessor_config.json", "openjepa.json", "README.md", "*.safetensors", "*.index.json")
FileName = Annotated[str, Field(pattern=r"^[^/\\]{1,255}$")]


class Stamp(Schema):
    """A file as it was first fetched."""

    size: Count
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Record(Schema):
    """What was first fetched of a model, by the names of its files; `files` is None before that."""

    revision: Text | None = None
    files: Annotated[dict[FileName, Stamp], Field(max_length=10_000)] | None = None


def fetch_repository(name: str) -> Path:
    """The folder of a model of the Hub, as owner/model; files put there by hand count as fetched. Raises UsageError."""
    folder = cache_folder("hub", name)
    by_hand = f"put config.json and model.safetensors of {name} into {folder}"

    def fetch(revision: str | None) -> str:
        hub = require("huggingface_hub", "hf")
        info = hub.HfApi(endpoint=endpoint()).model_info(name, revision=revision)
        if not re.fullmatch(r"[0-9a-f]{7,64}", str(info.sha)):
            raise UsageError(f"{name} could not be fetched: the Hub gave no revision of it: {by_hand}")
        # Weights come last: where they are complete, so is the rest.
        for file in sorted((s.rfilename for s in info.siblings), key=lambda name: name.endswith(".safetensors")):
            if "/" not in file and any(fnmatch(file, pattern) for pattern in WANTED):
                url = hub.hf_hub_url(name, file, revision=info.sha, endpoint=endpoint())
                _download(url, folder / file, info.sha[:12], hub.utils.build_hf_headers())
        return info.sha

    return _fetched(folder, name, fetch, by_hand)


def fetch_file(url: str) -> Path:
    """The file of an address, by its last word in the cache; one put there by hand counts as fetched. UsageError."""
    name = PurePosixPath(url).name
    folder = cache_folder("files", name)

    def fetch(_: str | None) -> str:
        _download(url, folder / name, "whole", {})
        return url

    return _fetched(folder, name, fetch, f"put {name} into {folder}") / name


def push(folder: Path, name: str) -> str:
    """Make the model `name` of the Hub hold what is in `folder`; returns its address. Raises UsageError."""
    hub = require("huggingface_hub", "hf")
    api = hub.HfApi(endpoint=endpoint())
    try:
        api.create_repo(name, exist_ok=True)
        return str(api.upload_folder(repo_id=name, folder_path=folder, commit_message="Upload by openjepa export"))
    except Exception as error:  # the library raises its own, its transport's and the system's
        raise UsageError(
            f"{name} was not pushed ({first_line(error)}): {folder} is complete: the same command pushes it"
        ) from error


def endpoint() -> str | None:
    """Another Hub than the public one, from the variable that its own library knows."""
    return os.environ.get("HF_ENDPOINT")


def _download(url: str, path: Path, version: str, headers: dict[str, str]) -> None:
    """Fetch a file unless it is there, resuming an earlier download of the same version."""
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{version}.part")
    with part.open("ab") as file:
        http_get = require("huggingface_hub.file_download", "hf").http_get
        http_get(url, file, resume_size=file.tell(), headers=headers, displayed_filename=path.name)
    part.rename(path)


def _fetched(folder: Path, name: str, fetch: Callable[[str | None], str], by_hand: str) -> Path:
    """`folder`, complete: as its record says, else fetched, or put there by hand, and then recorded."""
    path = folder.with_name(folder.name + ".record.json")
    start_again = f"delete it and {folder} to fetch {name} again"
    record = read_json(path, Record, start_again) if path.is_file() else Record()
    revision = record.revision
    if not _complete(folder, record):
        try:
            revision = fetch(revision)
        except UsageError:
            raise
        except Exception as error:  # the library raises its own, its transport's and the system's
            raise UsageError(
                f"{name} could not be fetched ({first_line(error)}): try again, the download resumes where it stopped; "
                f"or {by_hand}"
            ) from error
    _check(folder, record, name)
    if record.files is None:
        write_json(path, {**({"revision": revision} if revision else {}), "files": _stamps(folder)})
    return folder


def _complete(folder: Path, record: Record) -> bool:
    if record.files:
        return all((folder / name).is_file() for name in record.files)
    names = {path.name for path in _files(folder)}
    if folder.name in names:
        return True
    index = read_json(folder / INDEX, Index, FETCH).weight_map if INDEX in names else {}
    weights = {Path(part).name for part in index.values()} or {"model.safetensors"}
    return {"config.json", *weights} <= names


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_file() and not path.name.startswith("."))


def _stamps(folder: Path) -> dict[str, dict]:
    return {path.name: {"size": path.stat().st_size, "sha256": file_hash(path)} for path in _files(folder)}


def _check(folder: Path, record: Record, name: str) -> None:
    for file, stamp in (record.files or {}).items():
        path = folder / file
        if path.stat().st_size != stamp.size or file_hash(path) != stamp.sha256:
            raise UsageError(
                f"{path} is not the file that was first fetched for {name}: delete it to fetch it again, or delete "
                f"{folder} and its record to start again"
            )
