"""How much memory a command takes, in a process of its own, and the large collection that it is tried on.

``python -m tests.faults.peak make BYTES FOLDER`` writes a base of so many bytes and its modules as a collection;
``python -m tests.faults.peak run WORDS...`` runs a command, and prints as its last line the most memory that it and its
worker held, in bytes.
"""

from __future__ import annotations

import json
import math
import re
import resource
import sys
from pathlib import Path

from modhub import flow
from modhub.cli.main import run
from modhub.package.pack import Release
from tests.support.modules import random_decomposition
from tests.support.networks import Builder
from tests.support.pets import CLASSES, SHAPE

STATUS = Path("/proc/self/status")
"""Where Linux says what a process held; `getrusage` would count what its parent held when it started."""


def make(size: int, folder: Path) -> None:
    """Write a collection whose base has a square layer of so many bytes."""
    width = math.isqrt(size // 4)
    builder = Builder(shape=SHAPE)
    value = builder.relu(builder.gemm(builder.flatten(builder.input), width))
    value = builder.relu(builder.gemm(value, width))
    decomposition = random_decomposition(builder.build(builder.gemm(value, len(CLASSES))), seed=0, labels=CLASSES)
    packages = flow.pack(decomposition, Release(version="1.0.0", license="MIT", labels=CLASSES, forms=("delta",)))
    flow.write_collection(packages, folder)


def peaks() -> tuple[int, int]:
    """Return the most bytes that this process, and that the largest process it started, ever held."""
    found = re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())
    assert found is not None
    return int(found[1]) << 10, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        code = run(sys.argv[2:])
        print(json.dumps(peaks()))  # noqa: T201  The answer.
        sys.exit(code)
