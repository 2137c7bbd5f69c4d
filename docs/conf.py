"""Settings of Sphinx. The reference pages are written anew before every build."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import make_reference  # noqa: E402

from openjepa import __version__  # noqa: E402

make_reference.write(HERE / "reference")

project, author, release = "openjepa", "the openjepa maintainers", __version__
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4
highlight_language = "text"  # blocks without a language are commands, output and formulas
smartquotes = False  # two hyphens are those of an option
html_theme = "furo"
html_title = "openjepa"
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["tables.css"]
html_theme_options = {"navigation_with_keys": True}
