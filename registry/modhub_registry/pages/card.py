"""Cards: strangers' Markdown as HTML that can do nothing but be read."""

from __future__ import annotations

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

CARD_LENGTH = 24_000
"""Characters of a card that a page shows."""

HTML_LENGTH = 36_000
"""Characters that they may become; a card that becomes more is cut further."""

TAGS = frozenset(
    "a blockquote br code del em h3 h4 h5 h6 hr li ol p pre s strong table tbody td th thead tr ul".split()
)
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
REL = "nofollow noopener noreferrer ugc"
LOWER = 2
"""A card's headings are below those of the page: its first level is the page's third."""


def card_html(data: bytes) -> tuple[Markup, bool]:
    """Return a card without its front matter as HTML, and whether that is all of it.

    No scripts, styles, pictures, forms or frames, whatever the card holds; links lead to the web alone.
    """
    text = _without_front_matter(data.decode("utf-8", "replace"))
    shown = text[:CARD_LENGTH]
    html = _rendered(shown)
    while len(html) > HTML_LENGTH:
        shown = shown[: len(shown) // 2]
        html = _rendered(shown)
    # What the sanitiser lets through is markup.
    return Markup(html), shown == text  # noqa: S704


def _rendered(text: str) -> str:
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(_visible(text))
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, int(token.tag[1]) + LOWER)}"
    html = markdown.renderer.render(tokens, markdown.options, {})
    return nh3.clean(
        html,
        tags=set(TAGS),
        attributes={tag: set(names) for tag, names in ATTRIBUTES.items()},
        attribute_filter=_kept_attribute,
        # A wide table is scrolled, by keys too.
        set_tag_attribute_values={"th": {"scope": "col"}, "table": {"tabindex": "0"}},
        url_schemes={"http", "https", "mailto"},
        link_rel=REL,
    )


def _kept_attribute(tag: str, attribute: str, value: str) -> str | None:
    """Return an attribute's value, or None to drop it: a relative link would lead to somewhere on this server."""
    if (tag, attribute) == ("a", "href") and not value.lower().startswith(("http://", "https://", "mailto:")):
        return None
    return value


def _visible(text: str) -> str:
    """Return a text with a space for each sign that is not to be seen, such as those that turn the writing round."""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)


def _without_front_matter(text: str) -> str:
    lines = text.lstrip("\ufeff").splitlines()
    if lines and lines[0].rstrip() == "---":
        for number, line in enumerate(lines[1:], 1):
            if line.rstrip() == "---":
                return "\n".join(lines[number + 1 :]).strip()
    return "\n".join(lines).strip()
