"""Sphinx configuration of the documentation; `make docs` builds it into `build/site`."""

import re
from pathlib import Path
from typing import Final

from sphinx.application import Sphinx
from sphinx.util import logging

import pile_tools

logger = logging.getLogger(__name__)

project = "pile-tools"
author = "The pile-tools developers"
version = release = pile_tools.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc"]
root_doc = "index"
html_theme = "furo"
html_title = f"pile-tools {release}"
html_copy_source = False
html_show_copyright = False

# Headings are targets of links; the deepest link of these pages leads to a third-level heading.
myst_heading_anchors = 3
# A notebook is shown with the outputs that it has: running it needs data.
nb_execution_mode = "off"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_preserve_defaults = True

LOADED_FROM_ELSEWHERE: Final = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^>]*>"
    r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preload|icon|preconnect))[^>]*\bhref=[\"']?(?:https?:)?//[^>]*>"
    r"|@import\s+[^;]*https?://[^;]*|url\([\"']?(?:https?:)?//[^)]*\)"
)


def warn_of_remote_sources(app: Sphinx, error: Exception | None) -> None:
    """Warn of each page that would load a script, a style, a font or a picture from elsewhere."""
    if error is None:
        for path in sorted(Path(app.outdir).rglob("*")):
            if path.suffix in {".html", ".css"} and (match := LOADED_FROM_ELSEWHERE.search(path.read_text())):
                logger.warning("%s: loads %s; the site must work without a network", path, match[0])


def setup(app: Sphinx) -> None:
    """Check the finished site. `make docs` turns each warning into a failure."""
    app.connect("build-finished", warn_of_remote_sources)
