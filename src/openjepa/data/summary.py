"""The content of a dataset, read before anything is trained on it."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import asdict, dataclass, field

import numpy as np
from PIL import Image

from openjepa.data.crops import size_of
from openjepa.data.dataset import UNLABELLED, ImageDataset, ImageFiles, read_as, sample_order
from openjepa.data.decoding.pixel_format import RGB, Header, PixelFormat, channels_of, choose_pixel_format, disagreement
from openjepa.data.decoding.read import read_header
from openjepa.data.storage.storage import NOT_ASKED, Skipped, files_of
from openjepa.errors import BadImage, UsageError
from openjepa.safety.limits import MAX_CHANNELS

ALL_HEADERS = 100_000  # images, beyond which the headers of a sample are read: a second start should be quick
COMPARED_AT_MOST = 20_000


@dataclass
class Summary:
    """What was found; plain values, fit for JSON.

    sizes       (width, height, images), upright, by increasing area
    modes       images by Pillow's mode, or such as 12xfloat32, commonest first
    classes     images by class name, by name of the label; {} without labels
    skipped     (path, reason)
    duplicates  paths of files with equal bytes, group by group (of single pages: the same page of such files)
    compared    files among which duplicates were sought: all up to 20,000, else a fixed random sample of 20,000;
                0 if the images are no files
    read_as     how the images are read: the fields of a PixelFormat
    changed     images by what is done to them, where their channels or bits are others in their files
    paged       files with more than one image, of which the first is taken
    looked_at   images whose headers were read, to which sizes, modes, changed and paged refer: all of up to 100,000
    """

    source: str
    images: int
    sizes: list[tuple[int, int, int]]
    modes: dict[str, int]
    classes: dict[str, dict[str, int]]
    skipped: Skipped
    duplicates: list[list[str]]
    compared: int
    read_as: dict = field(default_factory=lambda: asdict(RGB))
    changed: dict[str, int] = field(default_factory=dict)
    paged: int = 0
    looked_at: int = 0

    @property
    def pixel_format(self) -> PixelFormat:
        return PixelFormat(**self.read_as)

    @property
    def smallest_side(self) -> int:
        """In pixels, over all images."""
        return min(min(width, height) for width, height, _ in self.sizes)

    @property
    def median_side(self) -> int:
        """The shorter side, in pixels, of the image of median area."""
        return min(self._median_size())

    @property
    def common_size(self) -> tuple[int, int]:
        """(width, height) of the most images."""
        width, height, _ = max(self.sizes, key=lambda size: size[2])
        return width, height

    def lines(self, listed_in: str = "") -> list[str]:
        """Three to seven lines for the user. `listed_in` names the file to which the caller writes `skipped`."""
        lines = [f"{counted(self.images, 'image')}{self._labels_in_words()}", f"sizes: {self._sizes_in_words()}"]
        lines.append(f"modes: {_counts(self.modes, 6)}")
        if self.pixel_format != RGB or self.changed:
            changed = "".join(f"; {count:,} {what}" for what, count in self.changed.items())
            lines.append(f"read as: {self.pixel_format.in_words()}{changed}")
        if self.paged:
            lines.append(
                f"pages: {counted(self.paged, 'file')} with more than one, of which the first is read (--pages)"
            )
        if self.skipped:
            # The bracket of a reason holds what differs from file to file.
            reasons: Counter[str] = Counter()
            for _, reason in self.skipped:
                reasons[reason.split(" (")[0]] += files_of(reason)
            where = f" (listed in {listed_in})" if listed_in else ""
            listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common(5))
            lines.append(f"skipped {counted(reasons.total(), 'file')}: {listed}{', ...' * (len(reasons) > 5)}{where}")
        if self.compared:
            lines.append(f"exact duplicates: {self._duplicates_in_words()}")
        return lines

    def _labels_in_words(self) -> str:
        if set(self.classes) == {"class"}:
            counts = self.classes["class"]
            lacking = self._lacking("class")
            return f" in {len(counts):,} classes ({_counts(counts, 3)}{lacking})"
        labels = ", ".join(
            f"{label} ({len(counts)} values{self._lacking(label)})" for label, counts in self.classes.items()
        )
        return f" labelled by {labels}" if labels else ""

    def unlabelled(self, label: str) -> int:
        """How many images lack a label."""
        return self.images - sum(self.classes[label].values())

    def _lacking(self, label: str) -> str:
        return f"; {self.unlabelled(label):,} without" if self.unlabelled(label) > 0 else ""

    def _sizes_in_words(self) -> str:
        (*first, _), (*last, _) = self.sizes[0], self.sizes[-1]
        sampled = f", in a sample of {self.looked_at:,}" if 0 < self.looked_at < self.images else ""
        if len(self.sizes) == 1:
            return f"all {first[0]}x{first[1]}{sampled}"
        width, height = self._median_size()
        return f"{first[0]}x{first[1]} to {last[0]}x{last[1]}, median {width}x{height}{sampled}"

    def _median_size(self) -> tuple[int, int]:
        upto = np.cumsum([count for *_, count in self.sizes])
        width, height, _ = self.sizes[int(np.searchsorted(upto, upto[-1] / 2))]
        return width, height

    def _duplicates_in_words(self) -> str:
        files = sum(map(len, self.duplicates))
        found = f"{counted(files, 'file')} in {counted(len(self.duplicates), 'group')}" if files else "none"
        return found + (f", in a sample of {self.compared:,}" if self.compared < self.images else "")


def inspect_dataset(
    dataset: ImageDataset,
    progress: Callable[[int, int], None] | None = None,
    pixel_format: PixelFormat | None = None,
    channels: int | None = None,
    pages: str = "first",
) -> tuple[ImageDataset, Summary]:
    """Read every header; returns the dataset without the files that have no readable one, and what was found.

    It is read in `pixel_format`; without one, in the format that suits the images (`choose_pixel_format`) with
    `channels` and `pages`. `progress(done, total)` is called every 256 files. Files cut off after the header are
    found only when they are decoded. Of a dataset that is not files, the first image is loaded and the others are
    taken to be like it. Raises UsageError if no image is usable, or none has the channels asked for.
    """
    if not isinstance(dataset, ImageFiles):
        wanted = pixel_format or PixelFormat(channels or dataset.pixel_format.channels, dataset.pixel_format.values)
        return _summary_of_drawn(dataset, wanted)
    pages = pages if pixel_format is None else pixel_format.pages
    looked_at = _looked_at(dataset, pages)
    headers, bad = _read_headers(dataset, looked_at, pages, progress or (lambda done, total: None))
    if not headers:
        path, reason = bad[0]
        raise UsageError(f"no image in {dataset.source} can be read ({len(looked_at):,} tried; {path}: {reason})")
    pixel_format = pixel_format or choose_pixel_format(headers.values(), dataset.source, channels, pages)
    bad += _take_unfit(dataset, headers, pixel_format, asked=channels is not None)
    unused = [index for index in looked_at if index not in headers]
    good = dataset if not unused else dataset.subset(np.delete(np.arange(len(dataset)), unused))
    if pixel_format.pages == "images":
        good = good.split_pages(list(headers.values()))
    good = good.read_as(pixel_format)
    return good, _summary_of_files(good, list(headers.values()), bad, len(looked_at))


def _take_unfit(dataset: ImageFiles, headers: dict[int, Header], pixel_format: PixelFormat, asked: bool) -> Skipped:
    """Remove the headers of images with other channels; (path, reason) of each. Raises UsageError if none is left."""
    have = {index: channels_of(header, pixel_format.pages) for index, header in headers.items()}
    unfit = [index for index, header in headers.items() if not pixel_format.takes(header)]
    if len(unfit) == len(headers):
        found = ", ".join(map(str, sorted(set(have.values()))))
        raise UsageError(disagreement(dataset.source, found, pixel_format.channels))
    for index in unfit:
        del headers[index]
    why = f"{NOT_ASKED} ({{}} channels)" if asked else f"{{}} channels, not {pixel_format.channels}"
    return [(dataset.paths[index], why.format(have[index])) for index in unfit]


def _summary_of_files(dataset: ImageFiles, headers: list[Header], bad: Skipped, looked_at: int) -> Summary:
    pixel_format = dataset.pixel_format
    images = [each for each in headers for _ in range(each.pages if pixel_format.pages == "images" else 1)]
    sizes = Counter(header.size for header in images)
    duplicates, compared = _duplicates(dataset)
    changes = Counter(filter(None, (_change(header, pixel_format) for header in headers)))
    return Summary(
        source=dataset.source,
        images=len(dataset),
        sizes=sorted(((*size, n) for size, n in sizes.items()), key=lambda row: (row[0] * row[1], row)),
        modes=dict(Counter(header.mode for header in images).most_common()),
        classes=_class_counts(dataset),
        skipped=bad + dataset.skipped,
        duplicates=duplicates,
        compared=compared,
        read_as=asdict(pixel_format),
        changed=dict(changes.most_common()),
        paged=sum(header.pages > 1 for header in headers) if pixel_format.pages == "first" else 0,
        looked_at=looked_at + len(images) - len(headers),
    )


def _change(header: Header, pixel_format: PixelFormat) -> str:
    """What of an image is not read as it stands in its file, in words."""
    swapped = {(1, 3): "grey repeated in every channel", (3, 1): "colour made grey"}
    channels = swapped.get((channels_of(header, pixel_format.pages), pixel_format.channels), "")
    deep = header.depth != "uint8" and pixel_format.values == "uint8"
    return " and ".join(filter(None, (channels, f"{header.mode} brought to 8 bits" * deep)))


def _summary_of_drawn(dataset: ImageDataset, pixel_format: PixelFormat) -> tuple[ImageDataset, Summary]:
    read, first, have = read_as(dataset, pixel_format), dataset.load(0), dataset.pixel_format
    mode = first.mode if isinstance(first, Image.Image) else f"{have.channels}x{first.dtype.name}"
    images = len(dataset)
    sizes = [(*size_of(first), images)]
    summary = Summary(
        dataset.source, images, sizes, {mode: images}, _class_counts(dataset), [], [], 0, asdict(pixel_format)
    )
    return read, summary


def _looked_at(dataset: ImageFiles, pages: str) -> list[int]:
    """The images whose headers are read; of a very large data set, or a long stream, a fixed sample."""
    if pages == "images" or len(dataset) <= (COMPARED_AT_MOST if dataset.window else ALL_HEADERS):
        return list(range(len(dataset)))
    return np.sort(sample_order(dataset, np.random.default_rng(0))[:COMPARED_AT_MOST]).tolist()


def _read_headers(
    dataset: ImageFiles, looked_at: list[int], pages: str, progress: Callable[[int, int], None]
) -> tuple[dict[int, Header], Skipped]:
    headers: dict[int, Header] = {}
    bad: Skipped = []
    for done, index in enumerate(looked_at, 1):
        try:
            with dataset.open(index) as stream:
                headers[index] = _within_limits(read_header(stream), pages)
        except BadImage as error:
            bad.append((dataset.paths[index], str(error)))
        if done % 256 == 0 or done == len(looked_at):
            progress(done, len(looked_at))
    return headers, bad


def _within_limits(header: Header, pages: str) -> Header:
    if header.pages > 1 and (channels := channels_of(header, pages)) > MAX_CHANNELS.get():
        raise BadImage(f"{channels:,} channels, more than are read ({MAX_CHANNELS.words()})")
    return header


def _duplicates(dataset: ImageFiles) -> tuple[list[list[str]], int]:
    if dataset.window:
        return [], 0
    sample = np.sort(np.random.default_rng(0).permutation(len(dataset))[:COMPARED_AT_MOST]).tolist()
    # Only files with equal stamps can be equal, so most need not be read whole.
    groups = _groups(sample, lambda index: (dataset.stamp(index), int(dataset.pages[index])))
    same = _groups(sorted(index for group in groups for index in group), dataset.digest)
    return [[dataset.paths[index] for index in group] for group in same], len(sample)


def _groups(indices: Iterable[int], key: Callable[[int], Hashable]) -> list[list[int]]:
    """The indices that share a key with another one, in order; those whose key cannot be read are left out."""
    groups: dict[Hashable, list[int]] = {}
    for index in indices:
        try:
            groups.setdefault(key(index), []).append(index)
        except BadImage:
            continue
    return [group for group in groups.values() if len(group) > 1]


def _class_counts(dataset: ImageDataset) -> dict[str, dict[str, int]]:
    found = {}
    for label, names in dataset.classes.items():
        values = dataset.labels[label]
        counts = np.bincount(values[values != UNLABELLED], minlength=len(names)).tolist()
        found[label] = dict(zip(names, counts, strict=True))
    return found


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 file, 2 files."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _counts(counts: dict[str, int], most: int) -> str:
    shown = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:most])
    return shown + ", ..." * (len(counts) > most)
