"""Run benchmarks and write their results.

    python -m benchmarks                 all of them, in the quick form
    python -m benchmarks compose --full  one of them, in full
    python -m benchmarks --table         only draw and write RESULTS.md anew from the results there are

Each writes ``benchmarks/results/NAME.json`` with its environment and every value, and a plot. Data sets other than
the shipped samples are taken from ``MODHUB_BENCH_DATA``: a folder with ``cifar10-train.npz`` and ``cifar10-test.npz``.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from benchmarks import (
    architectures,
    biased,
    composing,
    hundred,
    masks,
    modular,
    packing,
    patching,
    processes,
    publishing,
    resolving,
    scaling,
    sensitivity,
    serving,
    splitters,
    splitting,
    starting,
    tasks,
)
from benchmarks.plots import PLOTS
from benchmarks.table import write_table
from modhub._version import __version__
from modhub.report.figures.sheet import with_own_names

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(__file__).parent / "results"
BENCHMARKS: dict[str, Callable[..., dict[str, Any]]] = {
    "split": splitting.measure,
    "splitters": splitters.measure,
    "hundred": hundred.measure,
    "tasks": tasks.measure,
    "biased": biased.measure,
    "architectures": architectures.measure,
    "compose": composing.measure,
    "pack": packing.measure,
    "resolve": resolving.measure,
    "hub": publishing.measure,
    "start": starting.measure,
    "moda": modular.measure,
    "processes": processes.measure,
    "sensitivity": sensitivity.measure,
    "weightmask": masks.measure,
    "patch": patching.measure,
    "scale": scaling.measure,
    "registry": serving.measure,
}
LIBRARIES = ("numpy", "onnx", "onnxruntime", "torch")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--full", action="store_true", help="the full form instead of the quick one")
    parser.add_argument("--table", action="store_true", help="run nothing, draw and write what there is")
    arguments = parser.parse_args()
    for name in () if arguments.table else arguments.names or BENCHMARKS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        started = time.monotonic()
        values = BENCHMARKS[name](full=arguments.full)
        write(name, values, full=arguments.full, seconds=time.monotonic() - started)
    if arguments.table:
        for file in sorted(RESULTS.glob("*.json")):
            draw(file.stem, json.loads(file.read_text("utf-8"))["values"])
    write_table(RESULTS)


def write(name: str, values: dict[str, Any], *, full: bool, seconds: float) -> None:
    """Write a result with the environment that it was measured in."""
    document = {
        "benchmark": name,
        "form": "full" if full else "quick",
        "seconds": round(seconds, 1),
        "environment": {
            "modhub": __version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "system": platform.system(),
            **{library: version(library) for library in LIBRARIES},
        },
        "values": values,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    draw(name, values)


def draw(name: str, values: dict[str, Any]) -> None:
    """Draw a result beside its JSON; one without numbers, for lack of data, gets no picture."""
    if "missing" not in values or values.get("rows") or values.get("subjects"):
        figure = Figure(figsize=(6, 4), layout="constrained")
        PLOTS[name](values, figure.subplots())
        # Equal results give equal bytes.
        data = io.BytesIO()
        figure.savefig(data, format="svg", metadata={"Date": None})
        (RESULTS / f"{name}.svg").write_bytes(with_own_names(data.getvalue()))


if __name__ == "__main__":
    main()
