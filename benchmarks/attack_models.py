"""Hostile weights, artifacts, heads, run folders and studies: copies of harmless ones in which one file lies."""

import contextlib
import hashlib
import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from attack_containers import Owned
from attack_files import Forge, Raw, damage, dump, lie, lying_json, lying_lines, lying_text
from attack_harmless import COMPARED, RUN, TUNE, link_tree, rewrite

STEP = ["--batch-size", "4", "--workers", "0", "--precision", "float32", "--device", "cpu", "--steps", "1"]
TENSOR_NAMES = [
    "blocks.3000000.attn.qkv.weight",
    "encoder.layer.3000000.output.dense.weight",
    "\x1b[31mx",
    "[/red]",
    "",
]
TENSOR_NAMES += ["blocks.-1.norm1.weight", "blocks.x.norm1.weight", "x" * 100_000, "pos_embed", "blocks.0" * 1000]


def lying_tensors(forge: Forge, data: bytes) -> bytes:
    """A safetensors file with a header that lies, or numbers that are none."""
    if forge.chance(10) or len(data) < 16:  # it has been damaged before
        return damage(forge, data)
    (length,) = struct.unpack_from("<Q", data)
    header, body = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    what = forge.dice.randrange(6)
    names = [name for name in header if name != "__metadata__"]
    name = forge.dice.choice(names)
    if what == 0:
        start, stop = header[name]["data_offsets"]
        body[start:stop] = (b"\0\0\xc0\x7f" * (stop - start))[: stop - start]  # NaN
    elif what == 1:
        header[forge.dice.choice(TENSOR_NAMES)] = header.pop(name)
    elif what == 2:
        shape = header[name]["shape"]
        header[name]["shape"] = forge.dice.choice([shape[::-1], [1, *shape], [int(np.prod(shape))], [*shape, 1]])
    elif what == 3:
        header["__metadata__"] = {"format": forge.word(), forge.word(): "x" * 10_000}
    elif what == 4:
        return struct.pack("<Q", forge.dice.choice([0, 2**63, 2**40, len(data), length + 8])) + data[8:]
    else:
        header = lie(forge, header)
    text = dump(header) if not isinstance(header, Raw) else header.encode()
    return struct.pack("<Q", len(text)) + text + bytes(body)


def lying_file(forge: Forge, path: Path) -> None:
    """Replace a file of a copied folder by one that lies."""
    data = path.read_bytes()
    suffix = path.suffix
    change: Callable[[Forge, bytes], bytes] = {
        ".json": lying_json,
        ".jsonl": lying_lines,
        ".safetensors": lying_tensors,
        ".md": lying_text,
        ".pth": checkpoint,
        ".tar": checkpoint,
    }.get(suffix, damage)
    if forge.chance(25):
        path.unlink()
        forge.dice.choice([path.mkdir, lambda: os.mkfifo(path), lambda: None, lambda: path.symlink_to("/dev/zero")])()
    else:
        with contextlib.suppress(ValueError):  # numbers of an earlier lie that have too many digits to be written again
            rewrite(path, change(forge, data))


def copied(forge: Forge, name: str, *files: str) -> Path:
    """A copy of a harmless folder in which one of `files` (patterns), or of all, lies."""
    to = link_tree(forge.harmless / name, forge.folder / Path(name).name)
    found = sorted({path for pattern in files or ("*",) for path in to.glob(pattern) if path.is_file()})
    for path in forge.dice.sample(found, min(len(found), forge.dice.choice([1, 1, 1, 2]))):
        lying_file(forge, path)
    return to


# --- checkpoints of PyTorch ----------------------------------------------------------------------------------------


class Wanted:
    """Pickled as a call of a function by its name."""

    def __init__(self, module: str, name: str, *arguments: object) -> None:
        self.what = module, name, arguments

    def __reduce__(self) -> tuple:
        import importlib

        module, name, arguments = self.what
        return getattr(importlib.import_module(module), name), arguments


def checkpoint(forge: Forge, data: bytes) -> bytes:
    """A checkpoint that asks for code, that lies about its tensors, or that is damaged."""
    what = forge.dice.randrange(8)
    if what < 2:
        wanted = forge.dice.choice(
            [
                Owned(forge),
                Wanted("builtins", "eval", f"open({str(forge.guard / 'owned')!r}, 'w')"),
                Wanted("torch", "load", str(forge.guard / "victim")),
                Wanted("numpy", "zeros", 10**11),
                Wanted("builtins", "bytearray", 10**10),
                Wanted("collections", "OrderedDict"),
            ]
        )
        content = {"encoder": {"a": wanted}, "target_encoder": {}, "predictor": {}}
        plain = pickle.dumps(content, protocol=2)
        return plain if forge.chance(2) else _in_zip(data, plain)
    if what < 4:
        return _in_zip(data, damage(forge, _pickle_in(data)))
    if what == 4:
        return _saved(forge)
    return damage(forge, data) if what < 7 else _legacy(forge)


def _pickle_in(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return next(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))


def _in_zip(data: bytes, pickled: bytes) -> bytes:
    """The checkpoint with another data.pkl."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            new.writestr(name, pickled if name.endswith("data.pkl") else old.read(name))
    return stream.getvalue()


def _saved(forge: Forge) -> bytes:
    """Odd content that PyTorch itself saves: huge views of one number, no tensors, odd names."""
    import torch

    huge = torch.zeros(1).expand(2**20, 2**12)
    deep: dict = {}
    for _ in range(200):
        deep = {"a": deep}
    odd = forge.dice.choice([huge, torch.zeros(0), torch.zeros(3, dtype=torch.complex64), 5, None, [], deep, "x"])
    odd = forge.dice.choice([odd, torch.full((192,), torch.nan), torch.zeros(2, 3).to_sparse()])
    state = {forge.dice.choice(["pos_embed", "norm.weight", *TENSOR_NAMES]): odd}
    content = forge.dice.choice([state, {"encoder": state, "target_encoder": state, "predictor": state}, [state], 5])
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def _legacy(forge: Forge) -> bytes:
    """Opcodes of pickle in any order, behind the magic number of old files."""
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps(1001, protocol=2)
    return (magic if forge.chance(2) else b"") + bytes(forge.dice.choices(b"()}]NtsbR.cIFLp0q\x80\x8a\x8b", k=200))


# --- folders and the commands that read them -----------------------------------------------------------------------


def _use(forge: Forge, model: str) -> list[str]:
    """A command that reads a model from a path."""
    data, usual = str(forge.harmless / "classes"), ["--workers", "0", "--device", "cpu"]
    light = not (forge.harmless / "weights/hf").exists()
    form = forge.dice.choice(["safetensors", "official", *["hf"] * (not light)])
    rare = [
        ["evaluate", model, data, *usual, "--csv", "a.csv", "--page", "a.html", "--cache", "features"],
        ["pretrain", data, "--out", "new", "--init", model, *RUN[6:-1], "1"],
        ["export", model, "--to", "safetensors" if light else "onnx", "--out", "out"],
        ["export", model, "--to", "official" if light else "timm", "--out", "out"],
    ]
    cheap = [
        ["embed", model, data, "--out", "a.parquet", *usual],
        ["import", model, "new"],
        ["import", model, "new", "--which", "context", "--image-size", "32"],
        ["export", model, "--to", form, "--out", "out"],
        ["embed", f"untrained:{model}", data, "--out", "a.parquet", *usual],
        ["imagine", model, f"{data}/a/0.png", "--box", "0", "0", "9", "9", "--out", "a.html", *usual],
    ]
    return forge.dice.choice(rare) if forge.chance(12) else forge.dice.choice(cheap)


def weights_file(forge: Forge) -> tuple[str, list[str]]:
    """A file of weights by itself."""
    kind, name = forge.dice.choice(
        [("safetensors", "safetensors/encoder.safetensors"), ("pth", "official/checkpoint.pth.tar")]
    )
    change = lying_tensors if kind == "safetensors" else checkpoint
    data = change(forge, (forge.harmless / "weights" / name).read_bytes())
    path = forge.file(Path(name).name, data)
    words = _use(forge, path)
    return f"weights {kind}", [*words, "--num-heads", "4"] if words[0] in ("import", "export") else words


def folder_of_weights(forge: Forge) -> tuple[str, list[str]]:
    """A folder as transformers or timm writes it, or an artifact."""
    names = ["weights/hf", "weights/timm", "artifact", "artifact", "run/encoder"]
    name = forge.dice.choice([name for name in names if (forge.harmless / name).exists()])
    return f"folder {name}", _use(forge, str(copied(forge, name)))


def foreign(forge: Forge) -> tuple[str, list[str]]:
    """A folder of timm or transformers with a network that only their own code can build."""
    name, data = forge.dice.choice(["timm", "hf"]), str(forge.harmless / "classes")
    model = str(copied(forge, f"foreign/{name}", "*.json", "*.json", "*.safetensors"))
    usual = ["--workers", "0", "--device", "cpu"]
    ways = [
        ["embed", model, data, "--out", "a.parquet", *usual],
        ["embed", f"untrained:{model}", data, "--out", "a.parquet", *usual],
        ["import", model, "new"],
        ["export", model, "--to", name, "--out", "out"],
        ["pretrain", data, "--out", "new", "--init", model, "--method", "vicreg", *STEP],
        ["finetune", model, data, "--out", "new", "--epochs", "1", "--time", "1s", *usual],
        ["index", model, data, "--out", "new", *usual],
        ["anomaly", "fit", model, data, "--out", "new", *usual],
    ]
    return f"foreign {name}", forge.dice.choice(ways)


def runs_below(forge: Forge) -> tuple[str, list[str]]:
    """A folder of runs, some of which lie."""
    for name in ("run", "begun", "tuned"):
        copied(forge, name, "*.json", "*.jsonl", "*.jsonl")
    place = str(forge.folder) if forge.chance(2) else str(forge.folder / forge.dice.choice(["run", "begun", "tuned"]))
    return "runs", ["runs", place, "--csv", "a.csv", "--json", "a.json"]


def ensemble(forge: Forge) -> tuple[str, list[str]]:
    """Two networks side by side."""
    folder = str(copied(forge, "ensemble", "*.json", "*.safetensors", "members/*/*.json", "members/*/*.safetensors"))
    data, usual = str(forge.harmless / "classes"), ["--workers", "0", "--device", "cpu"]
    ways = [
        ["embed", folder, data, "--out", "a.parquet", *usual],
        ["evaluate", folder, data, *usual],
        ["export", folder, "--to", "onnx", "--out", "out"],
        ["predict", folder, data, "--out", "a.csv", *usual],
    ]
    return "ensemble", forge.dice.choice(ways)


def head(forge: Forge) -> tuple[str, list[str]]:
    """A classifier."""
    folder = str(copied(forge, "head"))
    data = str(forge.harmless / "classes")
    return "head", ["predict", folder, data, "--out", "a.csv", "--workers", "0", "--device", "cpu"]


def detector(forge: Forge) -> tuple[str, list[str]]:
    """A detector of odd images."""
    folder, data = str(copied(forge, "detector")), str(forge.harmless / "classes")
    use = ["score", folder, data, "--out", "a.csv"], ["evaluate", folder, data, "--normal", "a"]
    return "detector", ["anomaly", *forge.dice.choice(use), "--workers", "0", "--device", "cpu"]


def fine_tuning(forge: Forge) -> tuple[str, list[str]]:
    """A fine-tuning that is to be resumed, or whose head is used."""
    data, artifact = str(forge.harmless / "classes"), str(forge.harmless / "artifact")
    if forge.chance(2):
        folder = str(copied(forge, "tuned", "model/*.json", "model/*.safetensors"))
        use = ["predict", folder, data, "--out", "a.csv"], ["embed", folder, data, "--out", "a.csv"]
        return "head of a fine-tuning", [*forge.dice.choice(use), "--workers", "0", "--device", "cpu"]
    folder = copied(forge, "tuned", *forge.dice.choice([("finetuning.json", "*.jsonl"), ("checkpoints/*/*",)]))
    if forge.chance(2):
        _believed(forge, folder)
    shutil.rmtree(folder / "model")  # as in one that was stopped
    return "fine-tuning", ["finetune", artifact, data, "--out", str(folder), "--resume", *TUNE]


def run_folder(forge: Forge) -> tuple[str, list[str]]:
    """A finished run."""
    folder = str(copied(forge, "run", "*.json", "*.jsonl", "*.json", "encoder/*.json", "encoder/*.safetensors"))
    report = ["report", folder]
    return "run", report if forge.chance(2) else _use(forge, folder)


def begun_run(forge: Forge) -> tuple[str, list[str]]:
    """A run that is to be resumed."""
    folder = copied(forge, "begun", *forge.dice.choice([("*.json", "*.jsonl"), ("checkpoints/*/*",)]))
    if forge.chance(2):
        _believed(forge, folder)
    return "begun run", ["pretrain", str(forge.harmless / "classes"), "--out", str(folder), "--resume", *RUN]


def _believed(forge: Forge, folder: Path) -> None:
    """A lie in the newest checkpoint whose hash fits."""
    newest = max((folder / "checkpoints").glob("step-*"))
    if not all((newest / name).is_file() for name in ("state.safetensors", "state.json")):  # a pipe or a device by now
        return
    try:
        tensors = lying_tensors(forge, (newest / "state.safetensors").read_bytes())
        state = json.loads((newest / "state.json").read_bytes())
    except (OSError, ValueError, IndexError, RecursionError, struct.error):  # it has been damaged before
        return
    if not isinstance(state, dict) or "sha256" not in state:
        return
    what = forge.dice.randrange(3)
    if what == 0:
        rewrite(newest / "state.safetensors", tensors)
        state["sha256"] = hashlib.sha256(tensors).hexdigest()
    elif what == 1:
        state["best"] = {forge.dice.choice([f"{forge.guard}/x", "/../../../guard/x", "knn", "rank"]): [1e9, 2]}
    else:
        sha256 = state["sha256"]
        state = lie(forge, state)
        state = state | {"sha256": sha256} if isinstance(state, dict) else state
    if isinstance(state, dict):
        state.pop("state_sha256", None)  # as older versions wrote it
    rewrite(newest / "state.json", dump(state))


def comparison(forge: Forge) -> tuple[str, list[str]]:
    """A comparison of methods that is to be resumed; all of its runs are there."""
    folder = copied(forge, "comparison", "compare.json", "trials.jsonl", "trials/*/answers.safetensors")
    data = str(forge.harmless / "classes")
    return "comparison", ["compare", data, "--out", str(folder), "--resume", *COMPARED]


def study(forge: Forge) -> tuple[str, list[str]]:
    """A study of tune that is to be resumed."""
    given = json.loads((forge.harmless / "study/command.json").read_text())
    folder = copied(forge, "study", "tune.json", "trials.jsonl")
    return "study", ["tune", str(forge.harmless / "classes"), "--out", str(folder), "--resume", *given]
