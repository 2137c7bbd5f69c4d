"""A detector that is fitted on some images of an index, and scores all others: a job in a thread of its own.

It is held in memory alone, and bounded: so many normal images, a memory of so many patches, and so much time.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from openjepa.anomaly.calibration import combined
from openjepa.anomaly.fitting.features import FeaturesFitter, FromFeatures, reading_of
from openjepa.anomaly.fitting.normals import split_normals
from openjepa.anomaly.fitting.suspects import Batch, TwoPasses, find_suspects
from openjepa.anomaly.scorer import Score, score_all
from openjepa.data.crops import Frame
from openjepa.errors import BadImage, UsageError, print_error
from openjepa.exploring.anomalies.images import Given, ModelImages
from openjepa.exploring.anomalies.readings import Readings, readings_of
from openjepa.exploring.once import Once
from openjepa.indexing.store import Outdated
from openjepa.rng import SAMPLES, generator

State = Literal["fitting", "scoring", "done", "stopped", "failed"]
LEAST, MOST = 2, 1_000  # normal images that a detector is fitted on; of more, so many are drawn
MEMORY = 4096  # patches
SECONDS = 900.0  # after which fitting fails, and scoring ends with the images that it has come to
AT_ONCE = 1024  # images that are read in the order of the index; these groups are drawn at random
OUTDATED = "the index was brought up to date since it was opened: start the server again"
FAILED = "the server failed at this detector: it has printed why"


class Stopped(Exception):
    """The job was told to stop."""


class Late(Exception):
    """The time of the job is over."""


class OddPlaces(NamedTuple):
    """Of an image: its score, and the map [rows, columns] in standard deviations above normal patches, of a `frame`."""

    score: float
    map: Tensor
    frame: Frame


@dataclass
class Detection:
    """Scores of images by a detector of `normals`, the places of images that were said to be normal.

    aligned  whether parts lie at the same place in all images: a patch is then also compared with those at its place
    done, total  images that were read in this state, of how many
    scores   [n, 1 + K]: of each image the combination and each score by itself; NaN until it is scored
    suspects  normal images that may not be normal, by their places
    """

    images: ModelImages
    given: np.ndarray
    aligned: bool
    number: int
    state: State = "fitting"
    error: str | None = None
    done: int = 0
    total: int = 0
    late: bool = False
    suspects: tuple[tuple[int, float], ...] = ()
    known: FromFeatures | None = None
    readings: Readings | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        count = len(self.images.index)
        drawn = generator(0, SAMPLES).permutation(len(self.given))[:MOST]
        self.normals = np.sort(self.given[np.sort(drawn)])
        self.names = ("memory", "density") if self.aligned else ("memory",)
        self.scores = np.full((count, 1 + len(self.names)), np.nan, np.float32)
        self._end = monotonic() + SECONDS

    @property
    def running(self) -> bool:
        return self.state in ("fitting", "scoring")

    @property
    def what(self) -> str | None:
        return self.readings.what if self.readings else None

    @property
    def scored(self) -> int:
        return int((~np.isnan(self.scores[:, 0])).sum())

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        future: Future = Future()
        Once.computing.add(future)
        try:
            self.state = self._work()
        except Exception as problem:
            self.error, self.state = self._sentence(problem), "failed"
        finally:
            Once.computing.discard(future)

    def _work(self) -> State:
        try:
            self._fit()
            self.state = "scoring"
            self._score()
        except Stopped:
            return "stopped"
        return "done"

    def _sentence(self, problem: Exception) -> str:
        if isinstance(problem, Outdated):
            return OUTDATED
        if isinstance(problem, UsageError | BadImage):
            return str(problem)
        print_error(f"a detector failed: {type(problem).__name__}: {problem}")
        return FAILED

    def _fit(self) -> None:
        self.readings = readings_of(self.images)
        fitter = FeaturesFitter(self.names, MEMORY)
        split = split_normals(len(self.normals), None, 0)
        self.done, self.total = 0, len(self.normals)
        try:
            self.known = self._known(fitter, split.fit, split.spread)
        except Late:
            raise UsageError(f"fitting took more than {SECONDS:g} seconds: choose fewer normal images") from None
        named = {self.images.name(place): place for place in fitter.distances}
        found = find_suspects([*named], np.array([*fitter.distances.values()]))
        self.suspects = tuple((named[suspect.path], suspect.above) for suspect in found)

    def _known(self, fitter: FeaturesFitter, fit: np.ndarray, spread: np.ndarray) -> FromFeatures:
        if len(spread):
            passes = TwoPasses()
            first = passes.first(self._read(self.normals[fit]))
            return fitter.with_others(first, passes.again(self._read), self._read(self.normals[spread]))
        batches = [*self._read(self.normals[fit])]
        if sum(len(batch.places) for batch in batches) < LEAST:
            raise UsageError(f"fewer than {LEAST} of the {len(self.normals)} normal images can be read: choose others")
        return fitter.in_turn(batches)

    def _score(self) -> None:
        """Of all images, in groups that are drawn at random, so that a part of them stands for all."""
        count = len(self.images.index)
        self.done, self.total = 0, count
        order = generator(0, SAMPLES, 1).permutation(count)
        try:
            for group in np.split(order, range(AT_ONCE, count, AT_ONCE)):
                for values, places in self._read(np.sort(group)):
                    whole, parts = self._judged(values)
                    self.scores[places] = np.stack([whole.images, *(part.images for part in parts.values())], axis=1)
                self.done += len(group)
        except Late:
            self.late = True

    def _judged(self, features: Tensor) -> tuple[Score, dict[str, Score]]:
        assert self.known
        parts = score_all(self.known.parts, reading_of(features))
        return combined(parts, self.known.spreads), parts

    def _read(self, places: np.ndarray) -> Iterator[Batch]:
        """Readings until the job is stopped. Raises Stopped and Late."""
        assert self.readings
        fitting = self.state == "fitting"
        for batch in self.readings.read(np.sort(places)):
            if self._stopped.is_set():
                raise Stopped
            if monotonic() > self._end:
                raise Late
            yield batch
            if fitting:
                self.done = min(self.total, self.done + len(batch.places))

    def odd_places(self, image: Given) -> OddPlaces:
        """Where an image is odd. Raises UsageError."""
        if self.known is None or self.readings is None:
            raise UsageError("the detector is not fitted yet: wait for it")
        whole, _ = self._judged(self.readings.one(image))
        assert whole.maps is not None  # the memory has maps
        found = whole.maps[0].unflatten(0, self.readings.grid_size)
        return OddPlaces(float(whole.images[0]), found, self.readings.frame)


class Detecting:
    """The detector of a server, of which there is one at a time."""

    def __init__(self, images: ModelImages) -> None:
        self.images = images
        self.current: Detection | None = None
        self._count, self._lock = 0, threading.Lock()

    def fit(self, normals: np.ndarray, aligned: bool) -> Detection | None:
        """A detector that has begun, or None where another one is being made."""
        with self._lock:
            if self.current and self.current.running:
                return None
            self._count += 1
            self.current = Detection(self.images, normals, aligned, self._count)
            self.current.start()
            return self.current

    def forget(self) -> None:
        """Stop the detector, if there is one, and forget what it found."""
        with self._lock:
            if self.current:
                self.current.stop()
            self.current = None
