"""Unusual files are read or refused without a word on stderr."""

import contextlib
import io
import warnings

import numpy as np
import pytest
import tifffile
from support.packing import as_dicom

from openjepa.data.decoding.pixel_format import choose_pixel_format
from openjepa.data.decoding.read import read_header, read_pixels
from openjepa.errors import BadImage

PIXELS = np.zeros((8, 8), np.uint16)


@pytest.mark.parametrize(
    "fields",
    [{"NumberOfFrames": 0, "PatientSex": "\x1b[31m not a sex"}, {"RescaleSlope": 1e308, "RescaleIntercept": 0}],
)
def test_warnings_of_dicom_are_not_shown(recwarn, fields):
    with warnings.catch_warnings(action="ignore"):
        data = as_dicom(PIXELS + 1, **fields)
    header = read_header(io.BytesIO(data))
    with contextlib.suppress(BadImage):  # the second has no finite number
        read_pixels(io.BytesIO(data), choose_pixel_format([header], ""))
    assert not recwarn.list


def test_an_image_without_rows_is_refused():
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((4, 8, 12), np.float32), photometric="minisblack", planarconfig="contig")
    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        place = file.pages.first.tags["ImageLength"].valueoffset
    data = stream.getvalue()
    with pytest.raises(BadImage, match="no pixels"):
        read_header(io.BytesIO(data[:place] + bytes(2) + data[place + 2 :]))
