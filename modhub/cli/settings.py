"""Defaults from the user's settings file, ``config.toml`` in the platform's configuration folder.

```toml
registry = ["./modules", "seed:"]     # for every command that looks things up; also store, offline
trust = ["acme=/home/me/acme.pub"]    # for every command that fetches: whose signatures are believed
require-signature = true

[registries]                          # names that stand for addresses
work = "/srv/modules"

[signed.work]                         # a registry whose index must be signed: `modhub registry sign-index`
root = "/home/me/work-root.json"
index = "/srv/modules/.tuf"

[publish]                             # options of one command, by their long names
to = "work"
```

Options on the command line and ``MODHUB_*`` variables win.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modhub.errors import UsageError

if TYPE_CHECKING:
    import click

SHARED = ("registry", "store", "offline", "trust", "require-signature")
"""Options that may stand above the tables, for all commands that have them."""

REGISTRIES = "registries"
SIGNED = "signed"
SIGNED_KEYS = {"root", "index"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a settings file says.

    Args:
        shared: values for every command that has the option.
        commands: values per command.
        registries: addresses by name.
        signed: where the root file and the signed index of a registry are, as ``root`` and ``index``, by its name or
            address.
        file: where it was read from, for messages.
    """

    shared: Mapping[str, Any] = field(default_factory=dict)
    commands: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    registries: Mapping[str, str] = field(default_factory=dict)
    signed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    file: str = ""

    def defaults_for(self, command: click.Command) -> dict[str, Any]:
        """Return the values of a command's options, by the names that click gives them; of a group, by its commands.

        Raises:
            UsageError: the command has no such option.
        """
        own = self.commands.get(command.name or "", {})
        members: Mapping[str, click.Command] | None = getattr(command, "commands", None)
        if members is not None:
            tables = {name: table for name, table in own.items() if isinstance(table, Mapping)}
            nested = dataclasses.replace(self, commands=tables)
            return {name: nested.defaults_for(member) for name, member in members.items()}
        options = {
            word.removeprefix("--"): option
            for option in command.params
            for word in option.opts
            if word.startswith("--")
        }
        unknown = [key for key in own if key not in options]
        if unknown:
            raise UsageError(f"{self.file}: {command.name} has no option {unknown[0]!r}; it has {', '.join(options)}")
        values = {key: value for key, value in {**self.shared, **own}.items() if key in options}
        return {options[key].name or key: _as_given(options[key], value) for key, value in values.items()}


def _as_given(option: click.Parameter, value: Any) -> Any:
    """Return a value as click takes it; an option that may be repeated takes a list."""
    return [value] if getattr(option, "multiple", False) and not isinstance(value, list) else value


def settings_file() -> Path:
    """Return where the settings are looked for: ``MODHUB_CONFIG``, or the platform's folder."""
    chosen = os.environ.get("MODHUB_CONFIG")
    if chosen:
        return Path(chosen)
    from platformdirs import user_config_path

    return user_config_path("modhub") / "config.toml"


def read_settings(*, commands: tuple[str, ...]) -> Settings:
    """Return the settings, empty where there is no file.

    Args:
        commands: the names that tables may have, beside ``registries``.

    Raises:
        UsageError: the file is no valid TOML, or holds something unknown.
    """
    path = settings_file()
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Settings()
    except (ValueError, OSError) as error:
        raise UsageError(f"the settings file {path} cannot be read: {error}") from error
    tables = {key: value for key, value in document.items() if isinstance(value, Mapping)}
    shared = {key: value for key, value in document.items() if key not in tables}
    unknown = [*(set(shared) - set(SHARED)), *(set(tables) - {*commands, REGISTRIES, SIGNED})]
    if unknown:
        raise UsageError(
            f"{path}: {min(unknown)!r} is neither a command nor one of {', '.join(SHARED)}, {REGISTRIES}, {SIGNED}"
        )
    registries, signed = _addresses(tables, path), _signed(tables, path)
    return Settings(shared=shared, commands=tables, registries=registries, signed=signed, file=str(path))


def _addresses(tables: Mapping[str, Mapping[str, Any]], path: Path) -> dict[str, str]:
    found = tables.get(REGISTRIES, {})
    for name, address in found.items():
        if not isinstance(address, str):
            raise UsageError(f"{path}: {REGISTRIES}.{name} must be the address of a registry, got {address!r}")
    return dict(found)


def _signed(tables: Mapping[str, Mapping[str, Any]], path: Path) -> dict[str, Mapping[str, str]]:
    found = tables.get(SIGNED, {})
    for name, places in found.items():
        is_table = isinstance(places, Mapping) and set(places) == SIGNED_KEYS
        if not is_table or not all(isinstance(place, str) for place in places.values()):
            raise UsageError(f"{path}: {SIGNED}.{name} must say root, the file, and index, the folder or address")
    return dict(found)
