"""The pages as a site: ``nox -s docs``, which any warning fails.

The pages are read on GitHub too, so nothing in them is Sphinx's own. What the site alone needs is
in the files ``*.py`` and ``*.rst``. A reader's browser loads nothing from elsewhere: no fonts, no
scripts.
"""

from __future__ import annotations

import sys
from pathlib import Path

import runware_ws

sys.path.insert(0, str(Path(__file__).parent))  # for _site

project = "runware_ws"
author = copyright = "The runware_ws authors"
version = release = runware_ws.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "_site",
]

html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False

myst_heading_anchors = 4  # The same as GitHub's.
suppress_warnings = ["misc.highlighting_failure"]  # There is no lexer for Mermaid.

autodoc_default_options = {
    "members": True,
    "exclude-members": "model_config",
    # What comes from our own bases, and not from these and theirs.
    "inherited-members": "object, BaseException, BaseModel, dict, str, int, tuple, Enum, Protocol",
}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
maximum_signature_line_length = 88

napoleon_numpy_docstring = False
napoleon_custom_sections = [
    (section, "params_style")
    for section in (
        # Those of EmulatorOptions.
        *("Session and resume", "A dying socket", "Liveness", "Authentication", "Tasks", "Answers"),
        *("Load", "Questions", "The archive", "Framing of results", "Streams", "HTTP"),
    )
]
