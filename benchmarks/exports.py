"""Whether the libraries that an export is for give the embeddings of openjepa, from image files on.

python benchmarks/exports.py MODEL [sentence-transformers] [mlflow]

Ten images are drawn, in several formats, sizes and orientations; each is read by the other library, or by openjepa as
that library calls it. Prints the cosine with openjepa's embedding of each and writes benchmarks/results/exports.json.
`others` is the largest cosine with any other of the images.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from drawn_files import files
from PIL import Image, ImageOps
from record import record

import openjepa

LEAST = 0.99


def by_sentence_transformers(folder: Path, paths: Sequence[Path]) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return model.encode([ImageOps.exif_transpose(Image.open(path)) for path in paths])


def by_mlflow(folder: Path, paths: Sequence[Path]) -> np.ndarray:
    import mlflow

    return mlflow.pyfunc.load_model(str(folder)).predict([path.read_bytes() for path in paths])


LIBRARIES: dict[str, Callable[[Path, Sequence[Path]], np.ndarray]] = {
    "sentence-transformers": by_sentence_transformers,
    "mlflow": by_mlflow,
}


def main() -> None:
    model, names = sys.argv[1], sys.argv[2:] or [*LIBRARIES]
    images, rows = files(), []
    with tempfile.TemporaryDirectory() as place:
        paths = [Path(place) / str(number) for number in range(len(images))]
        for path, data in zip(paths, images.values(), strict=True):
            path.write_bytes(data)
        ours = torch.from_numpy(openjepa.load_encoder(model).encode(paths))
        others = torch.cosine_similarity(ours[:, None], ours[None], dim=2).fill_diagonal_(-1).max(dim=1).values
        for name in names:
            folder = openjepa.export(model, to=name, out=Path(place) / name)
            theirs = torch.from_numpy(LIBRARIES[name](folder, paths))
            cosines = torch.cosine_similarity(ours, theirs).tolist()
            rows += [
                {"library": name, "version": version(name), "image": image, "cosine": cosine, "others": float(most)}
                for image, cosine, most in zip(images, cosines, others, strict=True)
            ]
    for row in rows:
        print(f"{row['library']:22} {row['image']:42} {row['cosine']:9.6f} {row['others']:7.3f}")
    record("exports", rows=rows)
    if min(row["cosine"] for row in rows) < LEAST:
        raise SystemExit("an export gives other embeddings")


if __name__ == "__main__":
    main()
