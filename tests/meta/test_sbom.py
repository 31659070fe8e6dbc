"""The list of components says which modhub it is of, and what of it users get."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from modhub._version import __version__

SCRIPT = Path(__file__).parents[2] / "scripts" / "finish_sbom.py"
SCOPES = {
    "numpy": "required",
    "Jinja2": "optional",
    "PyYAML": "required",
    "torch": "optional",
    "pytest": "excluded",
    "Sphinx": "excluded",
}


def test_components_are_told_apart_and_the_version_is_there(tmp_path: Path) -> None:
    file = tmp_path / "sbom.json"
    listed = {
        "metadata": {"component": {"name": "modhub"}},
        "components": [{"name": name, "version": "1"} for name in SCOPES],
        "specVersion": "1.6",
    }
    file.write_text(json.dumps(listed), encoding="utf-8")
    subprocess.run([sys.executable, str(SCRIPT), str(file)], check=True)
    told = json.loads(file.read_text(encoding="utf-8"))
    assert told["metadata"]["component"]["version"] == __version__
    assert told["metadata"]["component"]["purl"] == f"pkg:pypi/modhub@{__version__}"
    assert {each["name"]: each["scope"] for each in told["components"]} == SCOPES
    assert told["specVersion"] == "1.6"
