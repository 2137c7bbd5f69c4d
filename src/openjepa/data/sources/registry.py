"""The kinds of sources of images: each is one module beside this one, and one entry here."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from openjepa.data.dataset import ImageDataset

Progress = Callable[[int, int], None] | None


class Opener(Protocol):
    """What the module of a source offers."""

    def takes(self, name: str) -> bool:
        """Whether `name`, as the user typed it, is of this kind; it need not be sound. Reads no file."""
        ...

    def open(self, name: str, progress: Progress = None) -> "ImageDataset":
        """The images of a name that it takes. Raises OSError, or UsageError if there are none or they are damaged.

        `progress(done, total)` is called where many files have to be looked into.
        """
        ...


@dataclass(frozen=True)
class Source:
    """A kind of source: what it is called in help and messages, a name for example, what it holds, its module."""

    names: str
    example: str
    help: str
    module: str

    def opener(self) -> Opener:
        """The module, imported when it is asked for: help needs no library that reads files."""
        return cast(Opener, import_module(self.module))


_HERE = __name__.rpartition(".")[0]

# Asked in this order; the first that takes a name opens it. Prefixes come before paths; .npz before zip, which it is.
SOURCES = [
    Source("scenes", "scenes:20000:0", "drawn scenes, their number and seed", f"{_HERE}.scenes"),
    Source(
        "hf:NAME",
        "hf:food101:train",
        "a data set of the Hub; hf-stream: keeps nothing",
        f"{_HERE}.hub",
    ),
    Source("torchvision:NAME", "torchvision:CIFAR10", "a data set that torchvision fetches", f"{_HERE}.torchvision"),
    Source("glob", "'shards/data-{0000..0099}.tar'", "a pattern of images, folders or shards", f"{_HERE}.patterns"),
    Source("tar", "photos.tar/cats", "an archive, plain or compressed; a shard of a WebDataset", f"{_HERE}.tar"),
    Source("arrays (.npy, .npz, .h5)", "photos.npz/images", "one array of images", f"{_HERE}.arrays"),
    Source("list (.txt, .csv, .tsv)", "list.csv", "a file that lists paths; its columns are labels", f"{_HERE}.lists"),
    Source("table (.parquet, .arrow)", "table.parquet", "rows with images or paths", f"{_HERE}.tables"),
    Source("zip", "photos.zip/cats", "an archive, read in place", f"{_HERE}.zip"),
    Source(
        "folder",
        "photos/",
        "images nested anyhow, or shards; local or a URL",
        f"{_HERE}.folder",
    ),
]


def known() -> str:
    """What can be given, the most general kind first."""
    return ", ".join(source.names for source in reversed(SOURCES))
