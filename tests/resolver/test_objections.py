"""Licences against a list of what is allowed."""

from __future__ import annotations

import pytest

from modhub.resolver.objections import permits


@pytest.mark.parametrize(
    ("expression", "allowed", "answer"),
    [
        ("MIT", {"MIT"}, True),
        ("MIT", {"Apache-2.0"}, False),
        ("MIT OR GPL-3.0-only", {"MIT"}, True),
        ("MIT AND GPL-3.0-only", {"MIT"}, False),
        ("MIT AND Apache-2.0", {"MIT", "Apache-2.0"}, True),
        ("MIT AND (Apache-2.0 OR GPL-3.0-only)", {"MIT", "Apache-2.0"}, True),
        ("(MIT OR GPL-3.0-only) AND Apache-2.0", {"MIT"}, False),
        # AND binds closer than OR.
        ("MIT OR GPL-3.0-only AND Apache-2.0", {"MIT"}, True),
        ("GPL-3.0-only AND Apache-2.0 OR MIT", {"MIT"}, True),
        # An exception makes another licence of it.
        ("GPL-3.0-only WITH GCC-exception-3.1", {"GPL-3.0-only"}, False),
        ("GPL-3.0-only WITH GCC-exception-3.1", {"GPL-3.0-only WITH GCC-exception-3.1"}, True),
        ("LicenseRef-Odd", {"LicenseRef-Odd"}, True),
    ],
)
def test_a_licence_is_permitted_when_it_can_be_met(expression: str, allowed: set[str], *, answer: bool) -> None:
    assert permits(expression, allowed=frozenset(allowed)) is answer
