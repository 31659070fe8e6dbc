"""Real trained classifiers too large for the repository, for whoever has them.

`MODHUB_SHARED_DATA` names the folder; without it, `shared/data` beside the repository is tried.
"""

from __future__ import annotations

import os
from pathlib import Path

# Read at import, because no test sees the settings of the person who runs it.
SHARED_DATA = Path(os.environ.get("MODHUB_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
ABSENT = f"there are no shared models in {SHARED_DATA}: set MODHUB_SHARED_DATA"


def shared_models() -> list[Path]:
    """Return the ONNX files of all shared models; none where the folder is absent."""
    return sorted((SHARED_DATA / "models").glob("*.onnx"))
