"""Settings of Sphinx. The reference pages are written anew before every build, notebooks where code has changed."""

import hashlib
import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import make_reference  # noqa: E402

from openjepa import __version__  # noqa: E402

make_reference.write(HERE / "reference")

project, author, release = "openjepa", "the openjepa maintainers", __version__
extensions = ["myst_nb"]  # brings myst_parser
exclude_patterns = ["_build", ".jupyter_cache"]
myst_heading_anchors = 4
source = b"".join(path.read_bytes() for path in sorted((HERE.parent / "src").rglob("*.py")))
cache = HERE / ".jupyter_cache" / hashlib.sha256(source).hexdigest()[:12]
for old in set(cache.parent.glob("*")) - {cache}:  # what other source code gave
    shutil.rmtree(old)
nb_execution_mode, nb_execution_cache_path = "cache", str(cache)
nb_execution_in_temp, nb_execution_timeout, nb_execution_raise_on_error = True, 900, True
nb_merge_streams = True
nb_output_stderr = "warn"  # a warning in a notebook is one of the build
highlight_language = "text"  # blocks without a language are commands, output and formulas
smartquotes = False  # two hyphens are those of an option
html_theme = "furo"
html_title = "openjepa"
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["tables.css", "code.css", "notebooks.css"]
html_js_files = ["scrolling.js"]
html_theme_options = {"navigation_with_keys": True}


CODE = re.compile(r'<code class="docutils literal notranslate">((?:<span class="pre">[^<]*</span>\s*)+)</code>')
PLACE = re.compile(r"([/_:.,=]+)(?=[^/_:.,=])")  # where a long word may break
PICTURE = re.compile(r'(<img alt="[^"]{20,}" src="((?:\.\./)?_images/[^"]+)" />)')


def for_all_readers(app, page, template, context, doctree):
    """Mend what Sphinx and MyST-NB write for screen readers and phones."""
    tree = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = tree.replace('role="heading"', 'role="heading" aria-level="2"')
    body = context.get("body", "").replace('<summary aria-label="Toggle hidden content">', "<summary>")
    body = PICTURE.sub(r'<a href="\2">\1</a>', body)  # opens in full: a phone shows it small
    context["body"] = CODE.sub(breakable, body)


def breakable(code):
    """Code in a line: long words may go on in the next line after a slash, a dot and the like."""
    words = re.sub(r"(?<=>)[^<>\s]{25,}", lambda word: PLACE.sub(r"\1</span><wbr><span class='pre'>", word[0]), code[1])
    long = " long" * (len(re.sub(r"<[^>]*>", "", code[1])) > 40)
    return f'<code class="docutils literal notranslate{long}">{words}</code>'


def setup(app):
    app.connect("html-page-context", for_all_readers, priority=900)  # after the theme
