"""How openjepa tells its own outputs from other files: by a mark in their content.

A new kind of output needs an entry here, so that the same command can replace it.
"""

import json
import zipfile
import zlib
from pathlib import Path

MARK = "openjepa"
HTML_MARK = b'<meta name="generator" content="openjepa'
PNG_MARK = b"tEXtSoftware\0openjepa"
PARQUET_MARK = b"openjepa.output"  # a key of the schema's metadata, which the footer holds
XLSX_MARK = "openjepa output"  # a property of the workbook
LIST_HEADS = b'{"info": {"generator": "openjepa ', b'[{"meta": {"generator": "openjepa '
CSV_HEADS = (
    b"path,truth,",
    b"path,true ",
    b"path,trained_on,",
    b"path,prediction,probability",
    b"path,vector_0",
    b"path,score,",
    b"model,data,task,metric,value,",
    b"run,status,done,steps,",
    b"query,rank,path,cosine,percentile",
    b"group,path,kind,of,",
    b"score,kind,metric,value,",
    b"path,score,distance,neighbours",
    b"cluster,path,cosine,size,",
    b"rank,path,cosine",
    b"path,given,label,confidence",
    b"moved_from,moved_to",
    b"draw,patch,content,rank,energy,path,",
)
RECORD = {"model", "data", "task", "metric", "value", "low", "high", "protocol"}
ANOMALY_RECORD = {"score", "kind", "metric", "value", "low", "high", "normal_images", "anomalous_images"}
# Of folders that import, export, ensemble and anomaly fit write: the files and keys by which such a folder is
# recognised, and their files.
FOLDER_MARKS = [("openjepa.json", "encoder"), ("openjepa.json", "ensemble"), ("comparison.json", "images_of")]
FOLDER_MARKS += [("detector.json", "model_hash")]
FOLDER_FILES = {
    *(name for name, _ in FOLDER_MARKS),
    *("README.md", "config.json", "preprocessor_config.json", "encoder.json", "predictor.json", "checkpoint.pth.tar"),
    *("detector.safetensors", "skipped.txt", "ensemble.safetensors"),
    *("encoder.onnx", "encoder.onnx.data", "classifier.onnx", "classifier.json", "trained_on.safetensors"),
    *("encoder-int8.onnx", "package.json", "page.json", "index.html", "page.css", "gallery.bin", "gallery.webp"),
    *("MLmodel", "requirements.txt", "python_env.yaml"),
    *("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"),
    *("gallery.json", "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
    *(f"{name}.js" for name in ("page", "view", "gallery", "pixels", "worker")),
    *(f"{name}.safetensors" for name in ("model", "encoder", "context_encoder", "target_encoder", "predictor")),
}
# The only folders in such a folder: of an ensemble, with folders of encoders and heads; for sentence-transformers.
MEMBERS, POOLING = "members", "1_Pooling"
MEMBER_FILES = FOLDER_FILES | {"classifier.safetensors"}
SEARCH_ROW = {"query", "rank", "path", "cosine", "percentile"}
IMAGINED_ROW = {"draw", "patch", "content", "rank", "energy", "path", "from_patch"}
RUN_ROW = {"run", "status", "done", "steps", "verdict", "settings", "problem"}
START, END, MOST_JSON = 4096, 2**16, 2**26


def is_output(path: Path) -> bool:
    """Whether a file has the mark of an output of openjepa. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(START)
        file.seek(0, 2)
        size = file.tell()
        file.seek(max(0, size - END))
        end = file.read()
    if start.startswith(b"PAR1"):
        return PARQUET_MARK in end
    if start.startswith(b"PK"):
        return _is_workbook(path)
    if start.startswith(b"\x89PNG"):
        return PNG_MARK in start
    if start.startswith(LIST_HEADS):
        return True
    if start.startswith(b"["):
        return size <= MOST_JSON and _are_records(path.read_bytes())
    return HTML_MARK in start if start.startswith(b"<!doctype html>") else start.startswith(CSV_HEADS)


def is_output_folder(folder: Path) -> bool:
    """Whether a folder is an output, holds nothing else, and is no part of a run. Raises OSError."""
    names = {entry.name for entry in folder.iterdir() if entry.is_file() and not entry.is_symlink()}
    others = [entry for entry in folder.iterdir() if entry.name not in names]
    if names - FOLDER_FILES or not all(_are_members(other) or _is_pooling(other) for other in others):
        return False
    in_run = folder.name.startswith("encoder") and (folder.parent / "config.json").is_file()
    marks = [(name, key) for name, key in FOLDER_MARKS if name in names]
    return not in_run and any(_has_key(folder / name, key) for name, key in marks)


def _are_members(folder: Path) -> bool:
    """Whether a folder holds the members of an ensemble, and nothing else."""
    if folder.name != MEMBERS or folder.is_symlink() or not folder.is_dir():
        return False
    return all(entry.is_dir() and not entry.is_symlink() and _is_member(entry) for entry in folder.iterdir())


def _is_member(folder: Path) -> bool:
    entries = list(folder.iterdir())
    return {entry.name for entry in entries} <= MEMBER_FILES and all(entry.is_file() for entry in entries)


def _is_pooling(folder: Path) -> bool:
    """Whether a folder is what says how sentence-transformers pools, and holds nothing else."""
    if folder.name != POOLING or folder.is_symlink() or not folder.is_dir():
        return False
    return all(entry.name == "config.json" and entry.is_file() for entry in folder.iterdir())


def _has_key(path: Path, key: str) -> bool:
    try:
        return path.stat().st_size <= MOST_JSON and key in json.loads(path.read_bytes())
    except (ValueError, RecursionError, TypeError):
        return False


def _is_workbook(path: Path) -> bool:
    """Whether a zip is an Excel workbook that openjepa wrote."""
    try:
        with zipfile.ZipFile(path) as book, book.open("docProps/custom.xml") as properties:
            return XLSX_MARK.encode() in properties.read(START)
    except (KeyError, ValueError, RuntimeError, NotImplementedError, zlib.error, zipfile.BadZipFile):
        return False


def _are_records(data: bytes) -> bool:
    """Whether a JSON text holds records that `evaluate`, `runs`, `search`, `anomaly evaluate` or `imagine` wrote."""
    try:
        records = json.loads(data)
    except (ValueError, RecursionError):
        return False
    kinds = RECORD, RUN_ROW, SEARCH_ROW, ANOMALY_RECORD, IMAGINED_ROW
    return bool(records) and all(
        isinstance(record, dict) and any(record.keys() >= kind for kind in kinds) for record in records
    )
