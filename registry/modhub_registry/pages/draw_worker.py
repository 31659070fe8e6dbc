"""The process that measures what modules keep: `python -m modhub_registry.pages.draw_worker`.

It reads one job as JSON, the paths of a base's files and of its modules', and answers with the numbers of the report.
It runs under a limit on memory, and whoever started it ends it when it takes too long.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modhub.errors import ModhubError
from modhub.package.materialise import open_base, read_module
from modhub.package.package import MANIFEST_FILE, Package
from modhub.report.kept import kept_of
from modhub.report.overlap import overlap_of
from modhub.report.split import Split, sites_behind
from modhub.spec.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

MEMORY_BYTES = 4 << 30


def main() -> None:
    """Answer one job."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    job = json.load(sys.stdin)
    try:
        answer = _measured(_read(job["base"]), [_read(files) for files in job["modules"]])
    except (ModhubError, OSError, MemoryError, RecursionError) as error:
        answer = {"problem": str(error) or type(error).__name__}
    json.dump(answer, sys.stdout)


def _measured(base: Package, modules: list[Package]) -> dict[str, Any]:
    opened = open_base(base)
    masks = tuple(read_module(package, base) for package in modules)
    recorded = [package.manifest.metrics["kernels_kept"].n for package in modules if _has_total(package)]
    total = recorded[0] if recorded else None
    split = Split(
        parent=opened.network,
        sites=opened.sites,
        behind=sites_behind(opened.network, opened.sites, total=total, modules=masks),
        modules=masks,
    )
    overlap = overlap_of(split).to_dict() if len(masks) > 1 else None
    return {"kept": kept_of(split).made.to_dict(), "overlap": overlap}


def _has_total(package: Package) -> bool:
    return "kernels_kept" in package.manifest.metrics


def _read(files: Mapping[str, str]) -> Package:
    found = {name: Path(path).read_bytes() for name, path in files.items()}
    return Package(manifest=Manifest.from_json(found[MANIFEST_FILE]), files=found)


if __name__ == "__main__":
    main()
