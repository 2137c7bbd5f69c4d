"""Random numbers as a function of where they are used, so that workers, ranks and restarts cannot change a run."""

import numpy as np

MASKS, ORDER, CROPS, SAMPLES, SCENE_LABELS, SCENE_LAYOUTS = range(6)


def generator(seed: int, stream: int, *clock: int) -> np.random.Generator:
    """A numpy generator for (seed, stream, up to three clock values >= 0), independent of every other combination."""
    counter = [0, *clock, *[0] * (3 - len(clock))]
    return np.random.Generator(np.random.Philox(key=np.array([seed % 2**64, stream], np.uint64), counter=counter))
