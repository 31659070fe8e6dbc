"""From the text that names a registry to its backend.

================================ =========================================================
``./modules``, ``/srv/modules``  a folder; also ``file:///srv/modules``, as locks write it; or a bundle
``hf://OWNER[/COLLECTION]``      the Hugging Face Hub; ``hf://`` alone is all of it
``https://host``, ``http://...`` a self-hosted registry
``seed:``                        the registry that comes with modhub
``memory:``, ``memory:NAME``     in this process only
================================ =========================================================

A scheme is one entry of `SCHEMES`; the function there gets the whole text. Plugins add schemes (`modhub.plugins`).
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from modhub import plugins
from modhub.errors import InvalidPlugin, NotFound, UsageError
from modhub.hub.bundle import BundleBackend
from modhub.hub.directory import DirectoryBackend
from modhub.hub.huggingface import HuggingFaceBackend
from modhub.hub.memory import MemoryBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modhub.hub.backend import Backend

# A single letter is a drive of Windows.
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
SEED = "seed:"
SEED_PLACES = ("_seed", "../registry/seed")
"""Relative to the package: in an installed wheel, and in a checkout."""


def open_registry(
    text: str, *, configured: Mapping[str, str] | None = None, named: bool = True, private: bool = False
) -> Backend:
    """Return the registry that a text names: a configured name, an address or a folder.

    A folder that does not exist yet must be written as a path, ``./modules``, so that a misspelt name makes none.

    Args:
        text: what names it.
        configured: addresses by name.
        named: whether a person named it, and not a lock: only then ``MODHUB_TOKEN`` is sent there.
        private: whether a collection that is made there is shown to nobody else, where the registry can do that.

    Raises:
        UsageError: the text is none of them; the message lists the accepted forms.
        NotFound: the registry that comes with modhub is missing.
        InvalidPlugin: a plugin brings the scheme, and cannot be used.
    """
    text = (configured or {}).get(text, text)
    scheme = SCHEME.match(text)
    if scheme and scheme[1].lower() in SCHEMES:
        backend = SCHEMES[scheme[1].lower()](text)
        return backend.asked(named=named, private=private) if isinstance(backend, HuggingFaceBackend) else backend
    plugin = plugins.find(plugins.BACKENDS, scheme[1].lower()) if scheme else None
    if plugin is not None:
        return _plugged(plugin, text)
    if scheme or not _is_path(text):
        raise _unknown(text, configured)
    return _at(Path(text).expanduser())


def seed_folder() -> Path:
    """Return the folder of the registry that comes with modhub.

    Raises:
        NotFound: this installation lacks it.
    """
    package = Path(__file__).resolve().parent.parent
    for place in SEED_PLACES:
        if (folder := (package / place).resolve()).is_dir():
            return folder
    raise NotFound(f"the seed registry is missing from {package}")


def _is_path(text: str) -> bool:
    return text in (".", "..", "~") or any(mark in text for mark in "/\\") or (bool(text) and Path(text).exists())


def _open_folder(text: str) -> Backend:
    address = urlsplit(text)
    path = Path(url2pathname(address.path))
    if address.netloc not in ("", "localhost") or not path.is_absolute():
        raise UsageError(f"{text!r} is no address of a folder here; expected one like file:///srv/modules")
    return _at(path)


def _at(path: Path) -> Backend:
    return BundleBackend(path) if path.is_file() else DirectoryBackend(path)


def _open_seed(text: str) -> Backend:
    if text != SEED:
        raise UsageError(f"{text!r} is no registry: {SEED} has nothing after the colon")
    return DirectoryBackend(seed_folder(), name=SEED, append_only=False)


@cache
def _open_memory(text: str) -> Backend:
    return MemoryBackend(text)


SCHEMES: dict[str, Callable[[str], Backend]] = {
    "file": _open_folder,
    "hf": HuggingFaceBackend.of_hub,
    "http": HuggingFaceBackend.of_server,
    "https": HuggingFaceBackend.of_server,
    "memory": _open_memory,
    "seed": _open_seed,
}


BACKEND_MEMBERS = (
    "name", "place", "remote", "append_only", "head", "read", "stream", "collections", "commit",
)  # fmt: skip
"""What every backend has."""


def _plugged(plugin: plugins.Plugin, text: str) -> Backend:
    """Return what a plugin opens an address as."""
    opened = plugin.load()
    with plugin.running():
        backend: Backend = opened(text)
    missing = [member for member in BACKEND_MEMBERS if not hasattr(backend, member)]
    if missing:
        raise InvalidPlugin(f"{plugin} opened {text!r} as {type(backend).__name__}, which has no {', '.join(missing)}")
    return backend


def _unknown(text: str, configured: Mapping[str, str] | None) -> UsageError:
    schemes = {*SCHEMES, *(plugin.name for plugin in plugins.installed(plugins.BACKENDS))}
    forms = ["a folder", *(f"{scheme}:..." for scheme in sorted(schemes)), *sorted(configured or {})]
    return UsageError(f"{text!r} is no registry; expected one of {', '.join(forms)}; a new folder is written ./NAME")
