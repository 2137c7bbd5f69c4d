"""Run the commands given as JSON on stdin, in this folder, against a web server, a Hub, an object store and a mirror of
torchvision that are all on this machine; prints what each came to as JSON."""

import hashlib
import io
import json
import os
import pickle
import shlex
import sys
import tarfile
import traceback
from pathlib import Path

import numpy as np

from support.packing import add, as_hub
from support.servers import DataHub, Files

HERE = Path.cwd()


def serve() -> tuple[Files, DataHub]:
    hub = DataHub(as_hub(HERE / "photos", HERE / "hub"), "ethz/food101")
    os.environ |= {"HF_ENDPOINT": hub.address, "HF_HOME": str(HERE / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    return Files(HERE), hub


def register_bucket() -> None:
    import fsspec
    from fsspec.implementations.dirfs import DirFileSystem
    from fsspec.implementations.local import LocalFileSystem

    class Bucket(DirFileSystem):
        protocol = "s3"

        def __init__(self, **_):
            super().__init__(str(HERE), LocalFileSystem(skip_instance_cache=True), skip_instance_cache=True)

    (HERE / "bucket").symlink_to(HERE, target_is_directory=True)
    fsspec.register_implementation("s3", Bucket, clobber=True)


def mirror_cifar10(address: str) -> None:
    """A CIFAR-10 of eight images an archive, in its own layout."""
    from torchvision.datasets import CIFAR10

    def batch(count: int) -> bytes:
        pixels = np.random.default_rng(count).integers(0, 256, (count, 3072), dtype=np.uint8)
        return pickle.dumps({"data": pixels, "labels": [i % 2 for i in range(count)]})

    parts = {
        "data_batch_1": batch(8),
        "test_batch": batch(6),
        "batches.meta": pickle.dumps({"label_names": ["a", "b"]}),
    }
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in parts.items():
            add(archive, f"cifar-10-batches-py/{name}", content)
    (HERE / "cifar.tar.gz").write_bytes(stream.getvalue())
    sums = {name: hashlib.md5(content).hexdigest() for name, content in parts.items()}
    CIFAR10.url, CIFAR10.filename = f"{address}/cifar.tar.gz", "cifar.tar.gz"
    CIFAR10.tgz_md5 = hashlib.md5(stream.getvalue()).hexdigest()
    CIFAR10.train_list, CIFAR10.test_list = (
        [["data_batch_1", sums["data_batch_1"]]],
        [["test_batch", sums["test_batch"]]],
    )
    CIFAR10.meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]}


def run(command: str, address: str) -> str:
    from openjepa.cli import main

    sys.argv = shlex.split(command.replace("https://example.org", address))
    try:
        main()
    except SystemExit as end:
        return str(end.code)
    except Exception:
        return traceback.format_exc()


def short_runs() -> None:
    """Only the images matter here: the report of a run, the trial steps of its plan and its steps take most time."""
    import openjepa.commands.pretrain
    import openjepa.training.timing
    from openjepa.models.vit import SIZES

    SIZES["vit_nano"] = (128, 2, 4, 4.0)

    openjepa.commands.pretrain.report_at_end = lambda *_, **__: None
    openjepa.training.timing.WARM_UP = openjepa.training.timing.TIMED = 1


def main() -> None:
    commands = json.load(sys.stdin)
    web, hub = serve()
    register_bucket()
    mirror_cifar10(web.address)
    short_runs()
    ended = {command: run(command, web.address) for command in commands}
    (HERE / "ended.json").write_text(json.dumps(ended))
    web.stop()
    hub.stop()


if __name__ == "__main__":
    main()
