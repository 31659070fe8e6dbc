"""The page on operators, written from the code and from the conformance cases of the `onnx` package.

`python -m tests.support.operators_page` writes it anew; a test fails while it is not what this would write.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

from modhub import fsops
from modhub.engines.operators.table import OPERATORS, supported_operators
from modhub.network.load import PASSES
from modhub.network.network import OPSET
from modhub.package.operators import ALLOWED
from tests.support.onnx_cases import EXCEPTIONS, SEVERAL, group_cases, load_cases, reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.support.onnx_cases import Case

PAGE = Path(__file__).parents[2] / "docs" / "operators.md"
HEAD = f"""# Operators

*Written by `python -m tests.support.operators_page`; a test keeps it true.*

A parent is any ONNX classifier that ONNX Runtime runs, opset 13 to 23. Loading brings it to opset {OPSET} of the
default domain and into normal form. What is in no table below is refused by name, when the network is loaded into
torch or when a package is written.

## What loading rewrites

Functions are inlined, and everything that is constant, shape arithmetic included, is folded. Then, in this order:

"""

TABLE = """
## What torch computes

Decomposers learn in torch, so these are the operators that a parent may use behind its cut. *Cases* are the conformance
cases of the operator that the `onnx` package ships: all pass but those listed at the end. *Packages* says whether the
graph of a published package may hold the operator as well.

| operator | cases | packages |
|---|---|---|
"""


def page(cases: Mapping[str, Sequence[Case]]) -> str:
    """Return the page; `cases` are grouped by operator."""
    return "".join([HEAD, *_passes(), TABLE, *_rows(cases), *_several(cases), *_only_packages(), *_exceptions()])


def _passes() -> Iterator[str]:
    for number, rewrite in enumerate(PASSES, start=1):
        summary, *_ = (inspect.getdoc(rewrite) or "").split("\n\n")
        yield f"{number}. `{rewrite.__name__}`: {' '.join(summary.split())}\n"


def _rows(cases: Mapping[str, Sequence[Case]]) -> Iterator[str]:
    for name in supported_operators():
        passing = sum(1 for case in cases[name] if not reason(case))
        count = str(passing) if passing == len(cases[name]) else f"{passing} of {len(cases[name])}"
        yield f"| {name} | {count} | {'yes' if name in ALLOWED else 'no'} |\n"


def _several(cases: Mapping[str, Sequence[Case]]) -> Iterator[str]:
    passing = sum(1 for case in cases[SEVERAL] if not reason(case))
    yield f"\nOf the {len(cases[SEVERAL])} cases whose graphs hold several of these operators, {passing} pass.\n"


def _only_packages() -> Iterator[str]:
    yield "\n## What packages may hold besides\n\n"
    yield "ONNX Runtime runs these; torch does not, so nothing is learned behind them:\n"
    names = ", ".join(sorted(ALLOWED - set(OPERATORS)))
    yield f"{names or 'none'}.\n"


def _exceptions() -> Iterator[str]:
    yield "\n## Cases that need not pass\n\n| cases | why |\n|---|---|\n"
    for pattern, why in EXCEPTIONS.items():
        yield f"| `{pattern}` | {why} |\n"


if __name__ == "__main__":
    fsops.replace_file(PAGE, page(group_cases(load_cases(), supported_operators())).encode())
