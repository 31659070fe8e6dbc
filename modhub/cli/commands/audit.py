"""`modhub audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modhub.cli.options import PATH, fetching_options, json_option
from modhub.cli.output import print_json, print_table, say
from modhub.cli.progress import waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modhub.cli.options import Places
    from modhub.workspace.audit import Finding

NO, INTEGRITY_CODE = 1, 4


@click.command(epilog="\b\nExample: modhub audit modhub.lock")
@click.argument("lock", type=PATH, default=Path("modhub.lock"), metavar="[LOCK]")
@fetching_options
@json_option
def command(lock: Path, *, places: Places, as_json: bool) -> int:
    """Look again at what a lock file (default: modhub.lock) holds.

    Has a release been yanked, deprecated or changed since? Is every byte the one promised? Do its operators and values
    pass today's checks, and do the licences go together? Exit code 1 when something is wrong, 4 when bytes are;
    deprecations are told only.
    """
    from modhub import flow
    from modhub.workspace import read_lock

    found = read_lock(lock)
    with waiting("looking again"):
        workspace = places.open(dict.fromkeys(module.registry for module in found.modules))
        findings = flow.audit(found, workspace=workspace)
    if as_json:
        print_json({"releases": len(found.modules), "findings": [vars(finding) for finding in findings]})
    else:
        print_table([row(finding) for finding in findings])
        say(f"{len(found.modules)} releases, {len(findings) or 'no'} findings")
    return code_of(findings)


def row(finding: Finding) -> dict[str, str]:
    """Return a finding as a row of a table."""
    name = f"{finding.name} {finding.version}".strip()
    return {"severity": finding.severity, "kind": finding.kind, "release": name, "problem": finding.problem}


def code_of(findings: Sequence[Finding]) -> int:
    """Return the exit code that the findings stand for."""
    kinds = {finding.kind for finding in findings if finding.severity == "error"}
    return INTEGRITY_CODE if "integrity" in kinds else NO if kinds else 0
