"""Random numbers as a function of where they are used, so that workers, ranks and restarts cannot change a run."""

import numpy as np
from numpy.random.bit_generator import ISeedSequence

MASKS, ORDER, CROPS, SAMPLES, SCENE_LABELS, SCENE_LAYOUTS, MIXUP, VIEWS = range(8)
ZEROS = (0, 0, 0, 0)
UNUSED = {"buffer": ZEROS, "buffer_pos": len(ZEROS), "has_uint32": 0, "uinteger": 0}


class _NoSeed(ISeedSequence):
    """Stands in for a seed where the state is set afterwards: making one takes most of a generator's time."""

    _words = np.zeros(2, np.uint64)

    def generate_state(self, n_words: int, dtype: object = np.uint32) -> np.ndarray:
        return self._words


_NO_SEED = _NoSeed()


def generator(seed: int, stream: int, *clock: int) -> np.random.Generator:
    """A numpy generator for (seed, stream, up to three clock values >= 0), independent of every other combination.

    That of `Philox(key=[seed, stream], counter=[0, *clock])`.
    """
    bits = np.random.Philox(_NO_SEED)  # type: ignore[arg-type]  # any ISeedSequence does
    numbers = {"counter": (0, *clock, *ZEROS[len(clock) + 1 :]), "key": (seed % 2**64, stream)}
    bits.state = {"bit_generator": "Philox", "state": numbers, **UNUSED}  # type: ignore[typeddict-item]  # tuples do
    return np.random.Generator(bits)
