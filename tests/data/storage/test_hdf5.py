"""Images in one large chunk of an HDF5 file are unpacked once."""

import h5py
import numpy as np

from openjepa.data.storage import hdf5


def test_a_chunk_stays_unpacked_from_row_to_row(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
    for name in ("a.h5", "b.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file.create_dataset("images", data=images, chunks=(6, 8, 8), compression="gzip")
    opened = set()
    for row in range(6):
        assert (hdf5.read_hdf5_row(str(tmp_path / "a.h5"), "images", row) == images[row]).all()
        opened |= {hdf5._rows[str(tmp_path / "a.h5"), "images"].id.id}
    assert len(opened) == 1
    hdf5.read_hdf5_row(str(tmp_path / "b.h5"), "images", 0)
    assert len(hdf5._rows) == len(hdf5._opened) == 1
