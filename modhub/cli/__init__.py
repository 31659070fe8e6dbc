"""The command line: each command parses, calls one function of `modhub.flow`, and prints."""

from __future__ import annotations

from modhub.cli.main import main

__all__ = ["main"]
