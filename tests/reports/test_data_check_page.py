"""Names in the chart of brightness and contrast can be read: they neither overlap nor leave the chart."""

import itertools
from types import SimpleNamespace

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from openjepa.data.decoding.pixel_format import RGB
from openjepa.reports.data_check_page import brightness_chart, label_points


def labels_of(names, points=((0, 0), (100, 10))):
    """The boxes of the names that were written, in pixels, and that of the axes."""
    figure = Figure((7.4, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 100], [0, 10], "o")
    label_points(figure, axes, [*names.items()], np.array(points))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = {label.get_text(): label.get_window_extent(canvas.get_renderer()) for label in axes.texts}
    return boxes, axes.get_window_extent(canvas.get_renderer())


def test_names_do_not_overlap_and_stay_inside():
    crowd = {f"a long name of an image {i}": (99 + i / 10, 5 + i / 100) for i in range(8)}
    boxes, inside = labels_of(crowd | {"another image": (0, 0)})
    assert "another image" in boxes and 2 <= len(boxes) < 9
    wider = [box.expanded(1.2, 1) for box in boxes.values()]  # as in the font of a reader's browser
    assert not any(one.overlaps(other) for one, other in itertools.combinations(wider, 2))
    for box in boxes.values():
        assert inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1


def test_names_with_space_are_all_written():
    names = {"one": (10, 2), "two": (50, 5), "three": (90, 8)}
    assert labels_of(names)[0].keys() == names.keys()


def test_names_hide_no_point_where_there_is_space_beside():
    right = [(x, y) for x in np.linspace(51, 70, 20) for y in np.linspace(0, 10, 60)]
    boxes, _ = labels_of({"an outlier": (50, 5)}, [*right, (50, 5)])
    alone, _ = labels_of({"an outlier": (50, 5)})
    assert boxes["an outlier"].x1 < alone["an outlier"].x0


def test_an_image_that_is_odd_in_two_ways_has_one_name():
    texts = [text.get_text() for text in brightness_chart(survey()).axes[0].texts]
    assert texts == ["dark, flat: plate_of_…ng_name_3_last.png"]


def survey():
    """Ten images, one of which is darker and flatter than the others."""
    paths = [f"plate_of_a_very_long_name_{i}_last.png" for i in range(10)]
    values = np.linspace(0.5, 0.6, 10)
    values[3] = 0.1
    summary = SimpleNamespace(pixel_format=RGB)
    dataset = SimpleNamespace(paths=paths, source="photos")
    odd = {"dark": [3], "bright": [], "flat": [3], "harsh": []}
    found = {"dataset": dataset, "summary": summary, "kept": np.arange(10), "odd": odd}
    return SimpleNamespace(**found, brightness=values, contrast=values)
