"""A static page that runs an encoder in the browser: graphs in float32 and int8, scripts, and images to compare with.

encoder.onnx  encoder-int8.onnx  encoder.json      the encoder, and how images are read
index.html  page.css  *.js  page.json              the page
gallery.json  gallery.bin  gallery.webp            the images that it compares with, where they were given
package.json                                       what npm install brings: onnxruntime-web
"""

import shutil
from pathlib import Path

import torch
from torch import Tensor

from openjepa.encoder.encoder import Encoder
from openjepa.errors import UsageError
from openjepa.files import write_json
from openjepa.interop.formats import onnx
from openjepa.interop.formats.registry import Forward, Options
from openjepa.interop.loaded_weights import Source
from openjepa.interop.web.gallery import write_gallery
from openjepa.interop.web.quantise import write_int8
from openjepa.interop.web.runtime import PACKAGE, VERSION, copy_runtime, has_runtime, package_json

INT8 = "encoder-int8.onnx"
PAGE = Path(__file__).parent / "page"
MOST_BYTES = 2**30  # of weights: a browser gives a page 4 GiB, and they are held more than once while they are loaded


def write(folder: Path, source: Source, options: Options) -> None:
    """Raises UsageError for an encoder of other than 8-bit colour or grey, and for one too large for a browser."""
    network = source.encoder(options.which)
    if not source.pixel_format.picture:
        raise UsageError(
            f"{source.name} reads {source.pixel_format.in_words()}, and a browser gives 8-bit colour or grey alone: "
            "export to onnx instead"
        )
    if (size := 4 * sum(p.numel() for p in network.parameters())) > MOST_BYTES:
        raise UsageError(f"{source.name} has {size / 2**30:.1f} GiB of weights, too many for a browser: export to onnx")
    onnx.write(folder, source, options)
    write_int8(folder / onnx.FILE, folder / INT8)
    how = source.pixel_format, source.max_stretch
    encoder = Encoder(network, source.mean, source.std, source.name, "cpu", torch.float32, *how)
    count = write_gallery(folder, encoder, options.gallery) if options.gallery else 0
    for file in PAGE.iterdir():
        shutil.copyfile(file, folder / file.name)
    write_json(folder / "package.json", package_json())
    write_json(folder / "page.json", {**_facts(folder, encoder), "licence": source.licence, "gallery": count})
    if options.runtime:
        copy_runtime(folder, options.runtime)


def _facts(folder: Path, encoder: Encoder) -> dict:
    """What the page shows of an encoder."""
    named = {"8 bits": INT8, "float32": onnx.FILE}
    files = [{"name": name, "file": file, "bytes": (folder / file).stat().st_size} for name, file in named.items()]
    return {
        "name": Path(encoder.name).name,
        "image_size": encoder.image_size,
        "channels": encoder.pixel_format.channels,
        "embed_dim": encoder.vit.embed_dim,
        "parameters": sum(p.numel() for p in encoder.network.parameters()),
        "runtime": VERSION,
        "weights": files,
    }


def reopen(folder: Path, options: Options, source: Source) -> Forward:
    return onnx.reopen(folder, options, source)


@torch.no_grad()
def int8_cosine(folder: Path, source: Source, options: Options, pixels: Tensor) -> float:
    """The least cosine of an embedding by the graph of 8 bits with ours, on pixels [B, C, H, W]."""
    ours = source.encoder(options.which)(pixels).mean(dim=1)
    theirs, _ = onnx.run_onnx(folder / INT8)(pixels)
    return float(torch.cosine_similarity(ours, theirs).min())


def next_lines(folder: Path) -> list[str]:
    """What is to be done with the folder of a page."""
    serve = f"to see it: python -m http.server --directory {folder}, and open http://localhost:8000"
    if has_runtime(folder):
        return [serve]
    return [f"the page needs {PACKAGE}: run npm install in {folder}, or give --runtime npm or a folder of it", serve]
