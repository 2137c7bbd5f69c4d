"""Files belong to images by relative path first; what two could own is refused, and both are named."""

import pytest

from openjepa.errors import UsageError
from openjepa.evaluation.annotations.name_matching import match_names


@pytest.mark.parametrize(
    ("paths", "names", "matched"),
    [
        (["a/1.jpg", "b/1.jpg"], ["a/1.png", "b/1.png"], ["a/1.png", "b/1.png"]),
        (["a/1.jpg", "b/1.jpg"], ["b/1.png", "a/1.png"], ["a/1.png", "b/1.png"]),
        (["a/1.jpg", "b/1.jpg"], ["all/a/1.png", "all/b/1.png"], ["all/a/1.png", "all/b/1.png"]),
        (["x/a/1.jpg", "x/b/1.jpg"], ["b/1.png", "a/1.png"], ["a/1.png", "b/1.png"]),
        (["a/1.jpg", "a/2.jpg"], ["1.png", "2.png"], ["1.png", "2.png"]),
        (["1.jpg", "2.jpg"], ["masks/2.png", "masks/1.png"], ["masks/1.png", "masks/2.png"]),
        (["images/1.jpg"], ["masks/1.png"], ["masks/1.png"]),
        (["a/1.jpg", "b/1.jpg"], ["a/1.png"], ["a/1.png", None]),
        (["a/1.jpg", "b/2.jpg"], ["a/1.png", "c/2.png"], ["a/1.png", None]),
        (["a/1.tar.jpg"], ["a/1.tar.png", "a/1.png"], ["a/1.tar.png"]),
    ],
)
def test_the_nearest_path_is_the_owner(paths, names, matched):
    expected = {path: name for path, name in zip(paths, matched, strict=True) if name}
    assert match_names(paths, names, "masks") == expected


@pytest.mark.parametrize(
    ("paths", "names", "message"),
    [
        (["1.jpg"], ["a/1.png", "b/1.png"], "1.jpg matches a/1.png and b/1.png equally well among the masks"),
        (["a/1.jpg", "b/1.jpg"], ["1.png"], "1.png matches a/1.jpg and b/1.jpg equally well among the images"),
        (["a/1.jpg", "a/1.png"], ["a/1.png"], "a/1.png matches a/1.jpg and a/1.png equally well among the images"),
        (["a/1.jpg"], ["a/1.png", "a/1.tif"], "a/1.png and a/1.tif are both of one image among the masks"),
    ],
)
def test_what_two_could_own_is_refused(paths, names, message):
    with pytest.raises(UsageError, match=message):
        match_names(paths, names, "masks")


def test_many_images_of_one_name_are_matched_in_no_time():
    paths = [f"{number}/image.jpg" for number in range(20_000)]
    assert match_names(paths, [f"deep/{path}" for path in paths], "masks")["77/image.jpg"] == "deep/77/image.jpg"
