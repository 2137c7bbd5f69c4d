"""Facts about the machine and Python, without any library."""

import contextlib
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from openjepa._version import __version__
from openjepa.errors import UsageError
from openjepa.files import cache_folder
from openjepa.installation.packages import installed
from openjepa.installation.variables import without_names

GIB = 2**30


def facts() -> dict[str, str]:
    """What an issue report needs to know, by name."""
    found = {
        "openjepa": f"{__version__}, {Path(__file__).parents[1]}",
        "Python": f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}",
        "system": platform.platform(),
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "PyTorch": installed("torch") or "not installed",
        "torchvision": installed("torchvision") or "not installed",
        "NVIDIA driver": nvidia_driver() or "none",
        "cache": cache_place(),
        "temporary": temporary_place(),
        "free space": ", ".join(f"{name} {free / GIB:.1f} GiB" for name, free in free_space().items()),
        "open files": " of at most ".join(map(_limit, resource.getrlimit(resource.RLIMIT_NOFILE))),
    }
    return {name: without_names(text) for name, text in found.items()}


def processor() -> str:
    """The model of the processor, as the system names it."""
    with contextlib.suppress(OSError):
        if named := re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return named[1]
    if sys.platform == "darwin":
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            asked = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(asked, capture_output=True, text=True, timeout=5).stdout.strip()
    return platform.processor() or platform.machine()


def nvidia_driver() -> str:
    """The version of the driver of NVIDIA GPUs, "" where there is none."""
    with contextlib.suppress(OSError):
        found = re.search(r"\d+\.\d+(\.\d+)?", Path("/proc/driver/nvidia/version").read_text())
        return found[0] if found else "of unknown version"
    return ""


def cache_place() -> str:
    try:
        return str(cache_folder())
    except UsageError as error:
        return str(error)


def temporary_place() -> str:
    try:
        return tempfile.gettempdir()
    except OSError as error:
        return error.strerror or str(error)


def free_space() -> dict[str, int]:
    """Bytes that are free where the cache, temporary files and shared memory lie."""
    places = {"cache": cache_place(), "temporary": temporary_place(), "shared memory": "/dev/shm"}
    found = {}
    for name, place in places.items():
        there = next((folder for folder in (Path(place), *Path(place).parents) if folder.is_dir()), None)
        with contextlib.suppress(OSError):
            if there is not None and Path(place).is_absolute() and (name != "shared memory" or there == Path(place)):
                found[name] = shutil.disk_usage(there).free
    return found


def _limit(number: int) -> str:
    return "unlimited" if number == resource.RLIM_INFINITY else f"{number:,}"
