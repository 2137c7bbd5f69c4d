"""Files: the cache folder, outputs that replace nothing of the user's, files written whole or not at all."""

from openjepa.files.outputs import check_can_write, check_folder_name, check_output, check_outside, replaces_folder
from openjepa.files.writing import (
    atomic_file,
    atomic_folder,
    cache_folder,
    file_hash,
    flush,
    usage_error,
    write_json,
    write_output,
    write_rows,
    write_text,
)

__all__ = [
    "atomic_file",
    "atomic_folder",
    "cache_folder",
    "check_can_write",
    "check_folder_name",
    "check_output",
    "check_outside",
    "file_hash",
    "flush",
    "replaces_folder",
    "usage_error",
    "write_json",
    "write_output",
    "write_rows",
    "write_text",
]
