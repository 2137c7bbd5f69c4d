"""onnxruntime-web, which the page runs the encoder with: too large to come with openjepa, so npm or a folder has it."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from openjepa.errors import UsageError
from openjepa.files import write_json

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
NPM = "npm"  # given in the place of a folder
FILES = {  # and their SHA-256: what runs in the browser is what the page was tested with
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
SECONDS = 300


def package_json() -> dict[str, Any]:
    """What `npm install` in the folder of a page reads: the pinned runtime, and that its files are put beside it."""
    names = ", ".join(f"'{name}'" for name in FILES)
    copy = f"for (const name of [{names}]) fs.copyFileSync('node_modules/{PACKAGE}/dist/' + name, name)"
    return {
        "name": "openjepa-page",
        "private": True,
        "type": "module",
        "scripts": {"postinstall": f'node -e "{copy}"'},
        "dependencies": {PACKAGE: VERSION},
    }


def copy_runtime(folder: Path, given: str) -> None:
    """Put the runtime into the folder of a page, from a folder of the package or by npm. UsageError, OSError."""
    if given != NPM:
        _copy(Path(given), folder)
        return
    with tempfile.TemporaryDirectory() as place:
        _install(Path(place))
        _copy(Path(place) / "node_modules" / PACKAGE, folder)


def _copy(package: Path, folder: Path) -> None:
    wanted = f"give the folder of {PACKAGE} {VERSION} (node_modules/{PACKAGE}), or --runtime {NPM}"
    for name, expected in FILES.items():
        found = next((path for path in (package / "dist" / name, package / name) if path.is_file()), None)
        if found is None:
            raise UsageError(f"--runtime {package} holds no {name}: {wanted}")
        with found.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                raise UsageError(f"{found} is not that of {PACKAGE} {VERSION}: {wanted}")
        shutil.copyfile(found, folder / name)


def _install(place: Path) -> None:
    """Have npm fetch the package; none of its scripts is run."""
    npm = shutil.which("npm")
    if npm is None:
        raise UsageError(f"--runtime {NPM}: npm is not installed: install Node.js, or give the folder of {PACKAGE}")
    package = package_json()
    write_json(place / "package.json", {name: package[name] for name in ("name", "private", "dependencies")})
    words = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    how: dict[str, Any] = {"cwd": place, "stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    try:
        done = subprocess.run(words, timeout=SECONDS, **how)
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"npm took more than {SECONDS} s to fetch {PACKAGE}: try again, or {_later()}") from error
    if done.returncode:
        reason = next((line for line in done.stderr.splitlines() if line.strip()), "it says no reason")[:150]
        raise UsageError(f"npm cannot fetch {PACKAGE} {VERSION} ({reason}): try again, or {_later()}")


def _later() -> str:
    return "leave --runtime out and run npm install in the folder later"


def has_runtime(folder: Path) -> bool:
    return all((folder / name).is_file() for name in FILES)
