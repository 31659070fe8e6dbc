"""Writing names of registries into the settings file, whose comments and order stay as they are."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING

from modhub import fsops
from modhub.cli.settings import REGISTRIES, settings_file
from modhub.errors import FormatError, NotFound, UsageError

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS_BYTES = 1 << 20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
TABLE = re.compile(rf"\s*\[\s*{REGISTRIES}\s*\]\s*(#.*)?")
ANY_TABLE = re.compile(r"\s*\[.*")


def add_name(name: str, address: str) -> Path:
    """Write a name into the settings file and return where that is.

    Raises:
        UsageError: the name is no plain word or has an address already, or the address is that of no registry.
        StorageError: the file cannot be written.
    """
    from modhub.hub.registries import open_registry

    if not NAME.fullmatch(name):
        raise UsageError(f"the name {name!r} is not letters, digits, '-' and '_'")
    open_registry(address)
    lines = _lines()
    known = _names(lines)
    if known.get(name) == address:
        return settings_file()
    if name in known:
        raise UsageError(f"{name} stands for {known[name]} already: `modhub registry remove {name}` first")
    place = next((number for number, line in enumerate(lines) if TABLE.fullmatch(line)), None)
    if place is None:
        lines += [*([""] if lines else []), f"[{REGISTRIES}]"]
        place = len(lines) - 1
    lines.insert(place + 1, f"{name} = {json.dumps(address)}")
    return _write(lines, {**known, name: address})


def remove_name(name: str) -> Path:
    """Take a name out of the settings file and return where that is.

    Raises:
        NotFound: there is no such name.
        UsageError: it is written in a way that only a person can change.
        StorageError: the file cannot be written.
    """
    lines = _lines()
    known = _names(lines)
    if name not in known:
        raise NotFound(f"no registry is called {name!r}; known are {', '.join(known) or 'none'}")
    inside, kept = False, []
    for line in lines:
        if ANY_TABLE.fullmatch(line):
            inside = bool(TABLE.fullmatch(line))
        if not (inside and re.match(rf"\s*\"?{re.escape(name)}\"?\s*=", line)):
            kept.append(line)
    return _write(kept, {key: value for key, value in known.items() if key != name})


def _lines() -> list[str]:
    try:
        return fsops.read_file(settings_file().resolve(), limit=SETTINGS_BYTES).decode("utf-8").splitlines()
    except NotFound:
        return []
    except (FormatError, UnicodeDecodeError) as error:
        raise UsageError(f"the settings file {settings_file()} cannot be read: {error}") from error


def _names(lines: list[str]) -> dict[str, object]:
    """Return the names that the lines of a settings file hold."""
    try:
        return dict(tomllib.loads("\n".join(lines)).get(REGISTRIES, {}))
    except ValueError as error:
        raise UsageError(f"the settings file {settings_file()} cannot be read: {error}") from error


def _write(lines: list[str], expected: dict[str, object]) -> Path:
    """Write the lines, once it is sure that they say what they should."""
    path = settings_file().resolve()
    if _names(lines) != expected:
        raise UsageError(f"the table [{REGISTRIES}] of {path} is written in a way that only you can change")
    fsops.make_folder(path.parent)
    fsops.replace_file(path, ("\n".join(lines) + "\n").encode("utf-8"))
    return path
