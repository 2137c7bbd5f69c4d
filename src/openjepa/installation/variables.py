"""Environment variables that matter to openjepa, and text without names of users and secrets."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from openjepa.safety.limits import LIMITS

KNOWN = ("OPENJEPA_CACHE", "OPENJEPA_TOKEN", *(limit.variable for limit in LIMITS))
PREFIXES = ("OPENJEPA_", "PYTORCH_", "TORCH_", "NCCL_")
NAMES = {
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG"),
    *("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT", "XDG_CACHE_HOME", "TMPDIR", "LD_LIBRARY_PATH"),
    *("LANG", "LC_ALL", "LC_CTYPE", "PYTHONPATH", "PYTHONUTF8", "PYTHONIOENCODING", "VIRTUAL_ENV", "CONDA_PREFIX"),
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NO_COLOR"),
}
# Of these it is said that they are set, and not to what.
UNSHOWN = {f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "ALL", "NO")} | {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}
SECRET = re.compile(r"TOKEN|KEY|SECRET|PASS|CREDENTIAL|AUTH", re.IGNORECASE)
MOST = 200  # characters of a value


def variables(given: Mapping[str, str]) -> dict[str, str]:
    """The variables that matter with their values; "set" for those whose value is a secret or may hold one."""
    found = {}
    for name, value in sorted(given.items()):
        if name.upper() in UNSHOWN or (name.startswith(PREFIXES) and SECRET.search(name)):
            found[name] = "set"
        elif name in NAMES or name.startswith(PREFIXES):
            found[name] = without_names(value)[:MOST]
    return found


def unknown_variables(given: Mapping[str, str]) -> list[str]:
    """Variables that begin as those of openjepa and are none."""
    return sorted(name for name in given if name.startswith("OPENJEPA_") and name not in KNOWN)


def without_names(text: str) -> str:
    """A text with the home folder as ~, the user's name in other paths as USER, and no passwords in addresses."""
    home = _home()
    if len(home) > 1:
        text = re.sub(rf"{re.escape(home)}(?=[/\\:;,\s'\"]|$)", "~", text)
    names = {Path(home).name, *(os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME"))} - {"", "root"}
    for name in names:
        text = re.sub(rf"(?<=[/\\]){re.escape(name)}(?=[/\\:;,\s'\"]|$)", "USER", text)
    return re.sub(r"//[^/@\s]*@", "//...@", text)


def _home() -> str:
    """The home folder, "" where the user has none."""
    try:
        return str(Path.home())
    except (RuntimeError, KeyError):
        return ""
