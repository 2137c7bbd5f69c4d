"""Pages, charts and pictures."""

import logging

# Matplotlib tells users without a home folder at length where it keeps its list of fonts.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
