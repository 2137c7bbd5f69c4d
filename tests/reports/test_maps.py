"""Names of the maps of images: they read well, no two are one file, and none leads out of the folder."""

import pytest

from openjepa.reports.anomaly.pictures import map_names

CASES = {
    "one ending": (["a/x.png", "a/y.JPG", "b/x.jpg"], ["a/x.png", "a/y.png", "b/x.png"]),
    "endings apart": (["x.png", "x.jpg", "y.jpg"], ["x.png.png", "x.jpg.png", "y.png"]),
    "no ending of an image": (["page.2", "scan.tif#3", "v1.0"], ["page.2.png", "scan.tif#3.png", "v1.0.png"]),
    "case": (["X.png", "x.png"], ["X.png.png", "x.png-2.png"]),
    "a name that another one gets": (["x.jpg", "x.png", "x.jpg.png"], ["x.jpg.png", "x.png.png", "x.jpg-2.png"]),
    "one path twice": (["x.png", "x.png"], ["x.png.png", "x.png-2.png"]),
    "out of the folder": (
        ["../../x.png", "/x.jpg", "..", "..\\x.npy"],
        ["x.png.png", "x.jpg.png", "image.png", "x.npy.png"],
    ),
    "a folder named like a map": (["a.png/b.jpg", "a.jpg"], ["a.png/b.png", "a-2.png"]),
    "hidden": ([".png", "a/.jpg"], [".png.png", "a/.jpg.png"]),
    "accents": (["\u00e9.png", "e\u0301.png"], ["\u00e9.png.png", "e\u0301.png-2.png"]),
}


@pytest.mark.parametrize(("paths", "names"), CASES.values(), ids=CASES)
def test_names(paths, names):
    assert map_names(paths) == names
