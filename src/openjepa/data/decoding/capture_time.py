"""When a picture was taken, as its camera noted."""

import io
from datetime import datetime

from openjepa.data.decoding.pillow import bad_image_on_error, open_image
from openjepa.errors import BadImage

EXIF, TAKEN, CHANGED = 0x8769, 0x9003, 0x0132  # the tags Exif, DateTimeOriginal and DateTime
FORM = "%Y:%m:%d %H:%M:%S"


def capture_time(data: bytes) -> datetime | None:
    """DateTimeOriginal, else DateTime, of a file's EXIF, in the camera's local time; None where it has none."""
    try:
        with bad_image_on_error():
            found = open_image(io.BytesIO(data)).getexif()
            text = found.get_ifd(EXIF).get(TAKEN) or found.get(CHANGED)
            return datetime.strptime(str(text).strip("\0 ")[:19], FORM) if text else None
    except BadImage:
        return None
