"""The model card of a collection: `README.md` with front matter, made from the index.

The front matter is what the Hugging Face Hub searches. Names and summaries in it come from strangers, so every scalar
is written quoted, and in the text every character with a meaning in Markdown is escaped.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from modhub.package.markdown import escaped, plain
from modhub.spec.releases import newest_releases

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modhub.spec.index import Index, Release
    from modhub.spec.names import CollectionId

PIPELINES = {
    "image": "image-classification",
    "tokens": "text-classification",
    "features": "tabular-classification",
    "audio": "audio-classification",
}
SURROGATE_PAIR = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})")
LICENSE_NAME = re.compile(r"[^a-z0-9.]+")

HUB_LICENSES = frozenset(
    "Apache-2.0 MIT BSD-2-Clause BSD-3-Clause ISC Zlib Unlicense CC0-1.0 CC-BY-4.0 CC-BY-SA-4.0 CC-BY-NC-4.0 MPL-2.0 "
    "AFL-3.0 Artistic-2.0 BSL-1.0 ECL-2.0 EPL-1.0 EPL-2.0 EUPL-1.1 MS-PL NCSA OSL-3.0 PostgreSQL WTFPL".split()
)
"""SPDX licences that the Hub knows by their lower-case name; any other expression is `other` with a name."""


def render_card(index: Index, *, collection: CollectionId | None = None) -> str:
    """Return the card's text; equal indexes give equal text.

    `collection` is what the examples call it; without one they hold a placeholder.
    """
    newest = newest_releases(index.releases)
    lines = [*_front_matter(newest), "", *_head(index, collection), *_table(newest), "", *_usage(newest, collection)]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """Return a text as a YAML scalar: a JSON string, but for its surrogate pairs, which YAML does not join."""
    return SURROGATE_PAIR.sub(_joined, json.dumps(plain(text)))


def _front_matter(releases: list[Release]) -> Iterator[str]:
    yield "---"
    yield "library_name: modhub"
    yield from _license(sorted({release.license for release in releases}))
    for kind in sorted({release.input.kind for release in releases})[:1]:
        yield f"pipeline_tag: {PIPELINES[kind]}"
    yield "tags:"
    for tag in _tags(releases):
        yield f"- {quoted(tag)}"
    yield "---"


def _license(licenses: list[str]) -> Iterator[str]:
    if not licenses:
        return
    if len(licenses) == 1 and licenses[0] in HUB_LICENSES:
        yield f"license: {licenses[0].lower()}"
        return
    yield "license: other"
    name = " and ".join(licenses).lower()
    yield f"license_name: {quoted(LICENSE_NAME.sub('-', name).strip('-'))}"


def _tags(releases: list[Release]) -> list[str]:
    methods = sorted({release.method for release in releases if release.method})
    capabilities = sorted({capability for release in releases for capability in release.provides})
    return list(dict.fromkeys(["modhub", *methods, *capabilities]))


def _head(index: Index, collection: CollectionId | None) -> Iterator[str]:
    yield f"# {escaped(collection.name if collection else 'Class modules')}"
    yield ""
    if index.summary:
        yield escaped(index.summary)
        yield ""


def _table(releases: list[Release]) -> Iterator[str]:
    yield "| package | version | kind | classes | method | F1 | bytes | licence |"
    yield "| --- | --- | --- | --- | --- | ---: | ---: | --- |"
    for release in releases:
        f1 = release.metrics.get("f1")
        cells = [
            release.name + (" (deprecated)" if release.deprecated else ""),
            release.version,
            release.kind,
            _few(release.classes),
            release.method or "",
            f"{f1.value:.3f}" if f1 else "",
            f"{release.size:,}",
            release.license,
        ]
        yield f"| {' | '.join(escaped(cell) for cell in cells)} |"


def _few(names: Iterable[str]) -> str:
    names = list(names)
    more = f", and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _usage(releases: list[Release], collection: CollectionId | None) -> Iterator[str]:
    place = str(collection) if collection else "OWNER/COLLECTION"
    modules = [f"{place}/{release.name}" for release in releases if release.kind == "module"][:2]
    if not modules:
        return
    yield "Install and compose with [modhub](https://pypi.org/project/modhub/):"
    yield ""
    yield "```"
    yield f"modhub install {' '.join(modules)}"
    yield f"modhub compose {' '.join(modules)} -o model"
    yield "```"


def _joined(pair: re.Match[str]) -> str:
    high, low = (int(digits, 16) for digits in pair.groups())
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"
