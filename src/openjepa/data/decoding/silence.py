"""What decoding libraries say about unusual files is kept from stderr: a file is read, or its reason is listed."""

import logging
import re
import warnings

_IGNORE = ("ignore", None, Warning, re.compile(r"(PIL|pydicom|tifffile)\."), 0)

for _name in ("PIL", "tifffile", "pydicom"):  # without a handler of their own, their warnings would go to stderr
    logging.getLogger(_name).addHandler(logging.NullHandler())
for _name in ("tifffile", "pydicom"):
    logging.getLogger(_name).propagate = False


def silence_decoders() -> None:
    """Ignore the warnings of decoding libraries from now on."""
    # catch_warnings would swap the filters of the whole process, which threads must not do at the same time.
    # One entry that stays in front is safe; test runners and other users of catch_warnings take it away again.
    if warnings.filters[:1] != [_IGNORE]:
        warnings.filterwarnings("ignore", module=_IGNORE[3].pattern)
