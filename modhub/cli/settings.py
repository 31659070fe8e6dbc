"""Defaults from the user's settings file.

``config.toml`` in the platform's configuration folder holds a table per command with the long names of its options,
for example ``[publish]`` with ``to = "/srv/modules"``. Options on the command line and ``MODHUB_*`` variables win.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from modhub.errors import UsageError


def settings_file() -> Path:
    """Return where the settings are looked for: ``MODHUB_CONFIG``, or the platform's folder."""
    chosen = os.environ.get("MODHUB_CONFIG")
    if chosen:
        return Path(chosen)
    from platformdirs import user_config_path

    return user_config_path("modhub") / "config.toml"


def read_settings() -> dict[str, Any]:
    """Return the settings, empty where there is no file.

    Raises:
        UsageError: the file is no valid TOML.
    """
    path = settings_file()
    try:
        return {
            name: {key.replace("-", "_"): value for key, value in table.items()} if isinstance(table, dict) else table
            for name, table in tomllib.loads(path.read_text("utf-8")).items()
        }
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"the settings file {path} cannot be read: {error}") from error
