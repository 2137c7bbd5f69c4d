"""Names in the chart of brightness and contrast can be read: they neither overlap nor leave the chart."""

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from openjepa.reports.data_check_page import label_points


def labels_of(names):
    """The boxes of the names that were written, in pixels, and that of the axes."""
    figure = Figure((7.4, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 100], [0, 10], "o")
    label_points(figure, axes, names)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = {label.get_text(): label.get_window_extent(canvas.get_renderer()) for label in axes.texts}
    return boxes, axes.get_window_extent(canvas.get_renderer())


def test_names_do_not_overlap_and_stay_inside():
    crowd = {f"a long name of an image {i}": (99 + i / 10, 5 + i / 100) for i in range(8)}
    boxes, inside = labels_of(crowd | {"another image": (0, 0)})
    assert "another image" in boxes and 2 <= len(boxes) < 9
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes.values(), 2))
    for box in boxes.values():
        assert inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1


def test_names_with_space_are_all_written():
    names = {"one": (10, 2), "two": (50, 5), "three": (90, 8)}
    assert labels_of(names)[0].keys() == names.keys()
