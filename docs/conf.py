"""How Sphinx makes the site: `make docs`. What every setting means: https://www.sphinx-doc.org."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes

from modhub._version import __version__

if TYPE_CHECKING:
    import click
    from sphinx.application import Sphinx

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

# A dash or a quotation mark that is typed stays the one that is typed.
smartquotes = False

# Docstrings are written with single backticks for code.
default_role = "code"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_maximum_signature_line_length = 100


def show_examples(app: Sphinx, context: click.Context, lines: list[str]) -> None:  # noqa: ARG001  Sphinx passes them.
    """Show what stands below the help of a command as it is typed: the example, and what goes before it."""
    before, found, example = "\n".join(line.removeprefix("| ") for line in lines).partition("Example: ")
    blocks = [("", "text", before.strip()), ("Example", "console", f"$ {example.strip()}" if found else "")]
    lines.clear()
    for title, language, text in blocks:
        if text:
            lines += [f".. rubric:: {title}", ""] if title else []
            lines += [f".. code-block:: {language}", "", *(f"   {line.rstrip()}" for line in text.splitlines()), ""]


def draw_dashes(app: Sphinx, page: nodes.document) -> None:  # noqa: ARG001  Sphinx passes it.
    """Draw the dash that autodoc puts behind the name of a parameter."""
    for text in list(page.findall(nodes.Text)):
        if text.startswith(" -- "):
            text.parent.replace(text, nodes.Text(f" \N{EN DASH} {text.removeprefix(' -- ')}"))


def leave_out(app: Sphinx, context: click.Context, lines: list[str]) -> None:  # noqa: ARG001  Sphinx passes them.
    """Leave out what the usage line says already, and the variable of each option: the page has the rule for them."""
    lines.clear()


def setup(app: Sphinx) -> None:
    """Say how the pages that are made from the program look; Sphinx calls this."""
    app.connect("doctree-read", draw_dashes)
    app.connect("sphinx-click-process-epilog", show_examples)
    app.connect("sphinx-click-process-arguments", leave_out)
    # sphinx-click 6.2 spells the event in two ways, and tells of the one that it has not announced.
    app.add_event("sphinx-click-process-envars")
    app.connect("sphinx-click-process-envars", leave_out)
    app.connect("sphinx-click-process-envvars", leave_out)
