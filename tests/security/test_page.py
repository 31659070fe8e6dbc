"""The page on security names tests that exist, and limits that hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modhub.hub.index_signer import TIMESTAMP_DAYS
from modhub.package.signing import SIGNATURE_BYTES
from modhub.package.worker import Allowance
from modhub_registry.checks.inspector import PATIENCE_S

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
POLICY = (ROOT / "SECURITY.md").read_text("utf-8")
FLAT = " ".join(PAGE.split())


def test_every_test_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`(tests/[\w/.]+)`", PAGE))
    assert len(named) > 15
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_test_of_security_is_named() -> None:
    mine = {f"tests/security/{path.name}" for path in (ROOT / "tests" / "security").glob("test_*.py")}
    assert mine - set(re.findall(r"`(tests/[\w/.]+)`", PAGE)) <= {"tests/security/test_page.py"}


@pytest.mark.parametrize(
    "text",
    [
        f"{Allowance().memory_bytes >> 30} GiB, and {Allowance().memory_factor} times the bytes",
        f"{Allowance().cpu_s} s a package",
        f"{Allowance().patience_s:.0f} s a package; in the registry {PATIENCE_S:.0f} s a commit",
        f"| {SIGNATURE_BYTES >> 10} KiB |",
        {2: "after two days unless"}[TIMESTAMP_DAYS],
    ],
)
def test_limits_are_those_of_the_code(text: str) -> None:
    assert text in FLAT


def test_no_address_is_invented() -> None:
    assert "@" not in POLICY
    assert "Report a vulnerability" in POLICY
