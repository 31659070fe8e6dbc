"""How Sphinx makes the site: `make docs`. What every setting means: https://www.sphinx-doc.org."""

from __future__ import annotations

from modhub._version import __version__

project = "modhub"
copyright = "The modhub contributors"
release = version = __version__
html_title = f"modhub {version}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_show_sphinx = False

# Markdown as GitHub shows it: a link to a heading is checked like a link to a file.
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
# Pages that other files bring along are shown as they stand; theirs is the first heading.
suppress_warnings = ["myst.header"]
highlight_language = "none"

# Docstrings are written with single backticks for code.
default_role = "code"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_maximum_signature_line_length = 100
