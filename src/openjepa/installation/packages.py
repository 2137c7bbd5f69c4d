"""The packages that openjepa needs, and those of each extra: what they are for, and whether they are installed."""

import re
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple


class Packages(NamedTuple):
    """Packages that are installed together. `name` is that of the extra, `help` what it is for.

    `modules` names for each requirement, as pyproject.toml has it, the module to import; "" where none needs to be.
    """

    name: str
    modules: dict[str, str]
    help: str


REQUIRED = Packages(
    "required packages",
    {
        "torch>=2.11": "torch",
        "numpy": "numpy",
        "pillow>=11": "PIL.Image",
        "rich": "rich",
        "typer": "typer",
        "pyarrow": "pyarrow",
        "matplotlib": "matplotlib",
        "scikit-learn": "sklearn",
        "scipy": "scipy",
        "safetensors": "safetensors",
        "tensorboard": "tensorboard",
        "jinja2": "jinja2",
        "platformdirs": "platformdirs",
        "filelock>=4.2": "filelock",
        "pydantic>=2.11": "pydantic",
        "pyyaml": "yaml",
    },
    "every command",
)
EXTRAS = (
    Packages(
        "hf", {"transformers>=5": "transformers", "torchvision": "torchvision"}, "models of transformers and of the Hub"
    ),
    Packages("timm", {"timm>=1.0.12": "timm"}, "models of timm"),
    Packages("onnx", {"onnx": "onnx", "onnxruntime": "onnxruntime"}, "export to ONNX"),
    Packages(
        "sentence-transformers",
        {"sentence-transformers>=5.4": "sentence_transformers"},
        "export to sentence-transformers",
    ),
    Packages("tiff", {"tifffile": "tifffile", "imagecodecs": "imagecodecs"}, "TIFF images that Pillow cannot read"),
    Packages("dicom", {"pydicom": "pydicom"}, "DICOM images"),
    Packages("datasets", {"datasets>=4": "datasets"}, "data sets of the Hub"),
    Packages("remote", {"fsspec": "fsspec", "aiohttp": "aiohttp"}, "images on web servers"),
    Packages("s3", {"s3fs": "s3fs"}, "images on S3"),
    Packages("gs", {"gcsfs": "gcsfs"}, "images on Google Cloud Storage"),
    Packages("hdf5", {"h5py": "h5py"}, "images in HDF5 files"),
    Packages("xlsx", {"xlsxwriter>=3.2": "xlsxwriter"}, "tables and vectors as Excel workbooks"),
    Packages("index", {"lancedb": "lancedb"}, "index, search and curate"),
    Packages("explore", {"starlette": "starlette", "uvicorn": "uvicorn", "umap-learn": "umap"}, "explore and serve"),
    Packages("ray", {"ray>=2.40": "ray", "pandas": "pandas", "fsspec": "fsspec"}, "index --engine ray"),
    Packages("wandb", {"wandb": "wandb"}, "pretrain --log-to wandb"),
    Packages("mlflow", {"mlflow": "mlflow"}, "pretrain --log-to mlflow, export to MLflow"),
    Packages("docs", {"sphinx": "", "myst-nb": "", "furo": ""}, "building the documentation"),
    Packages("torchvision", {"torchvision": "torchvision"}, "data sets of torchvision"),
    Packages(
        "test",
        dict.fromkeys(("pytest", "pytest-xdist", "ruff", "mypy", "basedpyright", "playwright", "lightly", "build"), ""),
        "running the tests",
    ),
)


class State(NamedTuple):
    """Of some packages: the versions that are installed, the requirements that are missing or too old."""

    installed: dict[str, str]
    missing: list[str]
    old: list[str]


def state_of(packages: Packages) -> State:
    """What is installed of some packages, by their metadata alone; nothing is imported."""
    found = {requirement: installed(requirement) for requirement in packages.modules}
    versions = {name_of(requirement): number for requirement, number in found.items() if number}
    old = [requirement for requirement, number in found.items() if number and not satisfies(number, requirement)]
    return State(versions, [requirement for requirement, number in found.items() if not number], old)


def modules_of(packages: Packages) -> list[str]:
    """The modules to import of what is installed."""
    return [module for requirement, module in packages.modules.items() if module and installed(requirement)]


def name_of(requirement: str) -> str:
    return requirement.partition(">=")[0]


def installed(requirement: str) -> str:
    """The version that is installed, "" where there is none."""
    try:
        return version(name_of(requirement)) or "unknown version"
    except PackageNotFoundError:
        return ""


def satisfies(number: str, requirement: str) -> bool:
    """Whether a version is the least that a requirement asks for, or newer."""
    return _numbers(number) >= _numbers(requirement.partition(">=")[2])


def _numbers(text: str) -> list[int]:
    return [int(digits) for digits in re.match(r"[\d.]*", text)[0].split(".") if digits]  # type: ignore[index]
