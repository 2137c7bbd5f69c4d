"""Fingerprints of what openjepa computes, to show that a change of its code changes no number.

python benchmarks/fingerprints.py record before.json --src OTHER/src     with the code of another checkout
python benchmarks/fingerprints.py record after.json                      with the installed code
python benchmarks/fingerprints.py compare before.json after.json         exit code 1 where they differ

`record` draws images and runs the command line on them for about five minutes on one core: training by every recipe and
method, a resumed run, every evaluation task and export format, embeddings and masks. It imports nothing of openjepa and
uses only options that old and new versions know, so that versions of different layout can be compared.

A row is a SHA-256 with the content it was made from: digests of tensors by name, records, settings. Text for people
(model cards, verdicts, protocols) has rows of its own, because it may change where numbers may not. Weights depend on
the CPU and on the version of PyTorch: compare only what one machine has recorded.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import load_file

Rows = dict[str, Any]

RESUMED_AT = 30
DEVICE = "--device cpu --precision float32 --workers 0"
SMALL = "--model vit_nano --image-size 32 --patch-size 4 --batch-size 16"
RUNS = {
    "laptop-0": f"--recipe laptop --steps 60 --keep-every {RESUMED_AT}",
    "laptop-1": "--recipe laptop --steps 60 --seed 1",
    "bf16": "--recipe laptop --steps 20 --precision bf16",
    "mae": "--recipe laptop --objective mae --batch-size 16 --steps 60",
    "hybrid": "--recipe laptop --objective hybrid --steps 60",
    "reference": "--recipe reference --batch-size 16 --steps 60",
    "small": f"--recipe small {SMALL} --steps 20",
    "paper": f"--recipe paper {SMALL} --predictor-dim 96 --predictor-heads 4 --steps 20",
    "monitored": "--recipe laptop --objective mae --image-size 16 --batch-size 256 --steps 40",
    "block": "--recipe laptop --masks block --steps 6",
    "automatic": "--masks rasterized --steps 6",
    "continued": "--recipe laptop --init runs/laptop-0 --image-size 32x48 --any-orientation --loss l2 --steps 12 "
    "--optimizer adamw --accumulate 2 --checkpoint-activations",
}
QUANTITIES = "--tasks probe-appearance,count,distance,depth,segment"
EVALUATIONS = {
    "photos": "runs/laptop-0 runs/laptop-1 photos --tasks linear,knn,fewshot,retrieval --shots 1%,5 --save-head head",
    "both": "runs/mae photos --tasks knn --encoder both",
    "annotated": f"runs/laptop-0 photos {QUANTITIES} --annotations scenes.json --depths depths --masks classes",
    "scenes": f"runs/laptop-0 scenes:90:0 --test scenes:30:1 {QUANTITIES}",
    "corrupted": "runs/laptop-0 photos --test few/photos --tasks robustness,attentive",
    "finetune": "runs/laptop-0 few/photos --test photos --tasks finetune,fewshot-finetune --shots 3 --epochs 1",
}
EXPORTS = {"hf": "--with-predictor", "timm": "--with-predictor", "safetensors": "--which context"}
EXPORTS |= {"official": "", "onnx": ""}
BLOCKS = "--target-scale .15 .2 --context-scale .85 1"
MASKS = {"multiblock": f"{BLOCKS} --num-targets 4 --context-ratio .25", "reference": f"{BLOCKS} --num-targets 4"}
MASKS |= {"block": f"{BLOCKS} --context-ratio .25", "random": "--context-ratio .25", "rasterized": ""}
RENAMED = {"objective": "method", "mask_draws": "masks_per_image", "target_aspect": "target_aspect_ratio"}
RENAMED |= {"reading": "pixel_format", "positional_share": "positional_fraction"}
DROPPED = {"command", "openjepa_version", "images_per_second", "input_wait"}  # may differ between equal runs
WORDS = ("status", "verdict")
SIZES = (40, 40), (64, 48), (30, 90), (96, 32), (33, 47), (240, 180), (24, 24)  # width, height


def draw_images(folder: Path, count: int, seed: int) -> None:
    """Pictures of three classes with a few squares in them, grey and coloured, of several shapes.

    Writes photos/, depths/, classes/ (a mask each) and scenes.json (CLEVR: the squares and their distances).
    """
    rng, scenes = np.random.default_rng(seed), []
    for i in range(count):
        (width, height), label, squares = SIZES[i % len(SIZES)], i % 3, []
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        coarse[..., label] //= 2
        photo = np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
        depth, mask = np.full((height, width), 200, np.uint8), np.zeros((height, width), np.uint8)
        for _ in range(1 + i // 3 % 3):
            top, left, far = rng.integers(height), rng.integers(width), rng.integers(40, 160)
            place = np.s_[top : top + height // 4, left : left + width // 4]
            photo[place], depth[place], mask[place] = 255 - far, far, 1 + label
            squares.append({"pixel_coords": [int(left), int(top), 7 + far / 40]})
        name = f"{'abc'[label]}/{i:03}"
        suffix, mode = ("png", "jpg")[i % 2], "L" if i % 5 == 0 else "RGB"
        for kind in ("photos", "depths", "classes"):
            (folder / kind / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).convert(mode).save(folder / f"photos/{name}.{suffix}")
        Image.fromarray(depth).save(folder / f"depths/{name}.png")
        Image.fromarray(mask).save(folder / f"classes/{name}.png")
        scenes.append({"image_filename": f"{name}.png", "objects": squares})
    (folder / "scenes.json").write_text(json.dumps({"scenes": scenes}))


def openjepa(*words: str) -> None:
    """Run a command given as text that is split at spaces; raises RuntimeError with its last lines."""
    command = [sys.executable, "-m", "openjepa", *" ".join(words).split()]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[2:])}: {(done.stdout + done.stderr)[-1500:]}")


def normal(value: Any) -> Any:
    """JSON with the new names of settings and without what differs from run to run."""
    if isinstance(value, dict):
        return {RENAMED.get(key, key): normal(inner) for key, inner in value.items() if key not in DROPPED}
    return [normal(inner) for inner in value] if isinstance(value, list) else value


def read_json(path: Path) -> Any:
    return normal(json.loads(path.read_text()))


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def weights(folder: Path) -> Rows:
    """Digests of all tensors in a folder, by file and name: safetensors, ONNX and the published layout."""
    found: Rows = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".safetensors":
            tensors = {name: tensor.numpy() for name, tensor in load_file(path).items()}
        elif path.suffix == ".onnx":
            tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
        elif path.suffix == ".tar":
            parts = [(key, part) for key, part in torch.load(path).items() if isinstance(part, dict)]
            tensors = {f"{key}.{name}": tensor.numpy() for key, part in parts for name, tensor in part.items()}
        else:
            continue
        hashed = {name: digest(f"{t.dtype} {t.shape} ".encode() + t.tobytes()) for name, t in tensors.items()}
        found[str(path.relative_to(folder))] = hashed
    return found


def train(name: str, options: str) -> Rows:
    openjepa("pretrain photos --out", f"runs/{name}", DEVICE, options)
    run = Path("runs") / name
    records = [normal(json.loads(line)) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        f"{name}: encoders": {path.name: weights(path) for path in run.glob("encoder*")},
        f"{name}: checkpoint": weights(max(run.glob("checkpoints/step-*"))),
        f"{name}: metrics": [{k: v for k, v in record.items() if k not in WORDS} for record in records],
        f"{name}: verdicts": [{k: record.get(k) for k in WORDS} for record in records],
        f"{name}: settings": read_json(run / "config.json"),
    }


def resume(name: str, options: str) -> Rows:
    """laptop-0 again from its checkpoint in the middle; its weights and metrics are those of laptop-0."""
    run = shutil.copytree("runs/laptop-0", Path("runs") / name)
    late = [path for path in run.glob("checkpoints/step-*") if int(path.name.split("-")[1]) > RESUMED_AT]
    for path in (*run.glob("encoder*"), *late):
        shutil.rmtree(path)
    return train(name, options)


def evaluate(name: str, command: str) -> Rows:
    """A row of numbers for each task, and one row with the protocols of all."""
    openjepa(command, DEVICE)
    records, rows = read_json(Path("demo/evaluation.json" if name == "demo" else "records.json")), {}
    for record in records:
        numbers = {key: record[key] for key in ("metric", "value", "low", "high")}
        numbers["paired"] = record["protocol"].pop("paired_difference_to", {})
        rows.setdefault(f"{name}: {record['task']}", {})[record["model"]] = numbers
    return rows | {f"{name}: protocols": {f"{r['model']}, {r['task']}": r["protocol"] for r in records}}


def export(name: str, options: str) -> Rows:
    openjepa("export runs/laptop-0 --to", name, "--out", f"export-{name}", options)
    folder = Path(f"export-{name}")
    files = [path for path in sorted(folder.iterdir()) if path.suffix not in (".json", ".md")]
    return {
        f"export {name}: bytes": {path.name: digest(path.read_bytes()) for path in files},
        f"export {name}: tensors": weights(folder),
        f"export {name}: operations": [n.op_type for p in folder.glob("*.onnx") for n in onnx.load(p).graph.node],
        f"export {name}: JSON": {path.name: read_json(path) for path in sorted(folder.glob("*.json"))},
        f"export {name}: card": (folder / "README.md").read_text().splitlines(),
    }


def use(name: str, options: str) -> Rows:
    """Import of the published layout, the classes that the head predicts, and embeddings."""
    openjepa("import export-official/checkpoint.pth.tar imported", options)
    openjepa("predict head photos --out predictions.csv", DEVICE)
    openjepa("embed runs/laptop-0 photos --out vectors.parquet", DEVICE)
    columns = pq.read_table("vectors.parquet").to_pydict().items()
    return {
        f"{name}: import": weights(Path("imported")) | read_json(Path("imported/openjepa.json")),
        f"{name}: predict": Path("predictions.csv").read_text().splitlines(),
        f"{name}: embed": {column: digest(json.dumps(values).encode()) for column, values in columns},
    }


def masks(name: str, options: str) -> Rows:
    shape = "--image-size 32 --patch-size 4 --batch-size 64 --seed 3 --image photos/a/000.png --out masks.png"
    openjepa("masks --masks", name, options, shape)
    return {f"masks: {name}": digest(np.asarray(Image.open("masks.png")).tobytes())}


def steps() -> Iterator[tuple[Callable[[str, str], Rows], str, str]]:
    """Functions with their arguments, each after those whose files it needs."""
    yield from ((train, *item) for item in RUNS.items())
    yield resume, "resumed", "--resume"
    for name, options in EVALUATIONS.items():
        yield evaluate, f"evaluate {name}", f"evaluate {options} --cache cache --json records.json"
    yield evaluate, "demo", "demo --data photos --out demo --steps 12"
    yield from ((export, *item) for item in EXPORTS.items())
    yield use, "use", "--num-heads 4"
    yield from ((masks, *item) for item in MASKS.items())


def all_rows() -> tuple[Rows, list[str]]:
    """All rows, and which commands failed instead of giving theirs."""
    rows, failures = {}, []
    for step, name, options in steps():
        try:
            found = {title: content for title, content in step(name, options).items() if content}
        except (RuntimeError, OSError, ValueError, KeyError) as error:
            failures.append(f"{name}: {type(error).__name__}: {error}")
            print(failures[-1], file=sys.stderr)
            continue
        for title, content in found.items():
            text = json.dumps(content, sort_keys=True)
            rows[title] = {"sha256": digest(text.encode()), "content": json.loads(text)}
            print(f"{rows[title]['sha256'][:12]}  {title}", flush=True)
    return rows, failures


def record(out: Path, source: str | None) -> bool:
    """Write all rows to `out`; whether every command has succeeded."""
    out = out.resolve()
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    os.environ |= {"PYTHONPATH": str(Path(source).resolve())} if source else {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        draw_images(Path(), 300, seed=7)
        draw_images(Path("few"), 60, seed=8)
        rows, failures = all_rows()
        os.chdir(out.parent)
    cpu = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    machine = {"cpu": cpu, "torch": torch.__version__, "python": platform.python_version()}
    out.write_text(json.dumps({"machine": machine, "failures": failures, "rows": rows}, indent=1) + "\n")
    return not failures


def leaves(value: Any, path: str = "") -> Rows:
    """The plain values in JSON, by path."""
    inside = dict(enumerate(value)) if isinstance(value, list) else value
    if not isinstance(inside, dict):
        return {path: inside}
    return {place: leaf for key, inner in inside.items() for place, leaf in leaves(inner, f"{path}/{key}").items()}


def differences(before: Any, after: Any, shown: int = 6) -> Iterator[str]:
    """The first differences between the contents of two rows, in a line each."""
    old, new = leaves(before), leaves(after)
    changed = [path for path in old | new if path not in old or path not in new or old[path] != new[path]]
    if sorted(map(str, old.values())) == sorted(map(str, new.values())):
        yield "the same values under other names or in another order"
    yield from (f"{path}: {old.get(path, 'absent')} -> {new.get(path, 'absent')}"[:200] for path in changed[:shown])
    yield from [f"and {len(changed) - shown} more"] if len(changed) > shown else []


def compare(before: dict, after: dict) -> bool:
    """Print which rows are equal; whether all are."""
    if before["machine"] != after["machine"]:
        print(f"note: recorded on different machines: {before['machine']} and {after['machine']}")
    absent, unequal = {"sha256": "absent", "content": {}}, 0
    names = list(before["rows"] | after["rows"])
    for name in names:
        old, new = (side["rows"].get(name, absent) for side in (before, after))
        same = old["sha256"] == new["sha256"]
        print(f"{'equal' if same else 'DIFFERENT':<10} {old['sha256'][:12]:<13} {new['sha256'][:12]:<13} {name}")
        for line in () if same else differences(old["content"], new["content"]):
            print(f"{'':11}{line}")
        unequal += not same
    print(f"{len(names) - unequal} rows equal, {unequal} different")
    return not unequal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    recording, comparing = actions.add_parser("record"), actions.add_parser("compare")
    recording.add_argument("out", type=Path, help="file to write")
    recording.add_argument("--src", help="folder that holds the package; without it the installed one is run")
    comparing.add_argument("files", type=Path, nargs=2, metavar="FILE")
    given = parser.parse_args()
    if given.action == "record":
        sys.exit(not record(given.out, given.src))
    sys.exit(not compare(*(json.loads(path.read_text()) for path in given.files)))


if __name__ == "__main__":
    main()
