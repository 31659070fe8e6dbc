"""Say in the list of components that `make sbom` writes which modhub it is of, and who needs what.

Usage: ``python scripts/finish_sbom.py build/sbom.json``, with the Python whose packages were listed. The tool that
lists them cannot see a version that is not in ``pyproject.toml``, and does not tell what users get from what only we
need. CycloneDX calls that the scope of a component:

============ =======================================================================
``required`` comes with ``pip install modhub``
``optional`` comes with one of the extras for users
``excluded`` is a tool for development or for the site; nobody gets it with modhub
============ =======================================================================
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modhub._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

PROJECT = "modhub"
OURS = ("dev", "docs")
"""Extras for those who work on modhub."""


def main() -> None:
    """Finish one list, in place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="what cyclonedx-py wrote")
    file = parser.parse_args().file
    listed = finished(json.loads(file.read_text(encoding="utf-8")))
    file.write_text(json.dumps(listed, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def finished(listed: dict[str, Any]) -> dict[str, Any]:
    """Return a list of components with the version of modhub, and the scope of each component."""
    extras = distribution(PROJECT).metadata.get_all("Provides-Extra") or []
    required = needed([])
    optional = needed(extra for extra in extras if extra not in OURS)
    main = {
        **listed["metadata"]["component"],
        "version": __version__,
        "purl": f"pkg:pypi/{PROJECT}@{__version__}",
    }
    components = [{**each, "scope": scope(each["name"], required, optional)} for each in listed["components"]]
    return {**listed, "metadata": {**listed["metadata"], "component": main}, "components": components}


def scope(name: str, required: set[str], optional: set[str]) -> str:
    """Return the scope of a package."""
    known = canonicalize_name(name)
    return "required" if known in required else "optional" if known in optional else "excluded"


def needed(extras: Iterable[str]) -> set[str]:
    """Return the installed packages that modhub stands on with some extras, and those that these stand on."""
    todo, seen = [(PROJECT, extra) for extra in ("", *extras)], set[tuple[str, str]]()
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for text in requirements_of(name):
            found = Requirement(text)
            if found.marker is None or found.marker.evaluate({"extra": extra}):
                todo += [(canonicalize_name(found.name), each) for each in ("", *found.extras)]
    return {name for name, _ in seen}


def requirements_of(name: str) -> list[str]:
    """Return what an installed package asks for, nothing for one that is not installed."""
    try:
        return distribution(name).requires or []
    except PackageNotFoundError:
        return []


if __name__ == "__main__":
    main()
