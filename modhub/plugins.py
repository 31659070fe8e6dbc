"""What other packages add to modhub, found by the entry points that they declare.

============================ ==========================================================================
``modhub.decomposers``       a `modhub.decomposers.Decomposer`: ``modhub decompose --method NAME``
``modhub.backends``          address -> `modhub.hub.backend.Backend`: registries called ``NAME:...``
``modhub.glue``              a `modhub.composer.glue.Maker`: ``modhub patch --glue NAME``
============================ ==========================================================================

A plugin is imported when it is asked for by its name, and never before; names are read from the metadata of what is
installed. What modhub brings itself cannot be replaced: a plugin of the same name is not looked at. A plugin is code
that somebody chose to install, and runs with all the rights that modhub has.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modhub.errors import InvalidPlugin, ModhubError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from importlib.metadata import EntryPoint

DECOMPOSERS = "modhub.decomposers"
BACKENDS = "modhub.backends"
GLUE = "modhub.glue"
GROUPS = (DECOMPOSERS, BACKENDS, GLUE)


@dataclass(frozen=True)
class Plugin:
    """Something that an installed package adds.

    Args:
        group: the group of entry points, one of `GROUPS`.
        name: what it is asked for by.
        value: where it is, ``package.module:attribute``.
        package: the package that brings it, with its version.
    """

    group: str
    name: str
    value: str
    package: str

    def __str__(self) -> str:
        return f"the plugin {self.name!r} ({self.group}) of {self.package}"

    def load(self) -> Any:
        """Import the plugin and return it.

        Raises:
            InvalidPlugin: it cannot be imported, or cannot be called.
        """
        from importlib.metadata import EntryPoint

        try:
            found = EntryPoint(self.name, self.value, self.group).load()
        except Exception as error:  # A stranger's module may fail in any way.
            problem = f"cannot be loaded from {self.value!r}: {type(error).__name__}: {error}"
            raise InvalidPlugin(f"{self} {problem}") from error
        if not callable(found):
            raise InvalidPlugin(f"{self} is {type(found).__name__}, expected something to call, at {self.value!r}")
        return found

    @contextmanager
    def running(self) -> Iterator[None]:
        """While it runs: errors that are not modhub's name the plugin.

        Raises:
            InvalidPlugin: it failed in a way that is none of modhub's.
        """
        try:
            yield
        except ModhubError:
            raise
        except Exception as error:  # A stranger's code may fail in any way.
            raise InvalidPlugin(f"{self} failed: {type(error).__name__}: {error}") from error


def installed(group: str, *, besides: Collection[str] = ()) -> tuple[Plugin, ...]:
    """Return the plugins of a group, sorted by name, without importing any.

    Args:
        group: one of `GROUPS`.
        besides: names that modhub has itself, which no plugin can take.
    """
    from importlib.metadata import entry_points

    found = {_plugin(entry) for entry in entry_points(group=group) if entry.name not in besides}
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.package, plugin.value)))


def find(group: str, name: str) -> Plugin | None:
    """Return the plugin of a name, or None.

    Raises:
        InvalidPlugin: several packages bring one of this name.
    """
    found = [plugin for plugin in installed(group) if plugin.name == name]
    if len(found) > 1:
        packages = " and ".join(plugin.package for plugin in found)
        raise InvalidPlugin(f"{packages} both bring a plugin {name!r} ({group}): uninstall all but one")
    return found[0] if found else None


def _plugin(entry: EntryPoint) -> Plugin:
    distribution = entry.dist
    package = f"{distribution.name} {distribution.version}" if distribution is not None else "an unknown package"
    return Plugin(entry.group, entry.name, entry.value, package)
