"""Tools that some tests need and not every machine has.

Such a test is skipped where its tool is missing, and says so. `MODHUB_REQUIRE=node,postgresql` turns the skip into a
failure, which is what CI does, so that nothing is left out there without anybody noticing.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

# Read at import, because no test sees the settings of the person who runs it.
REQUIRED = frozenset(filter(None, os.environ.get("MODHUB_REQUIRE", "").split(",")))
TOOLS = ("node", "postgresql", "s3", "older-hub-client", "chromium", "strace", "namespaces", "faketime")


def lacking(tool: str, reason: str) -> NoReturn:
    """End the test: it needs a tool that is not there. Skipped, or failed where the tool is required."""
    assert tool in TOOLS, tool
    if tool in REQUIRED:
        pytest.fail(f"{tool} is required here, and {reason}")
    pytest.skip(f"needs {tool}: {reason}")
