"""The model card of one release: `README.md`, made from its manifest, for people.

Equal manifests give equal cards. Everything a stranger wrote into a manifest is escaped, so a card shows it and never
obeys it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from modhub.package.markdown import escaped, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modhub.spec.digests import FileRecord
    from modhub.spec.manifest import Manifest, Metric

KINDS = {
    "base": "base: the parent that the class modules of its collection are cut out of",
    "module": "class module: scores one class",
    "composite": "composite: several class modules as one model",
}
OUTPUTS = {
    "logit": "one score per input",
    "logits": "the parent's logits, one column per class",
    "scores": "one score per class, a column each",
}
ARXIV = re.compile(r"arXiv:([0-9]{4}\.[0-9]{4,5})")
PLACE = "OWNER/COLLECTION"
"""A release does not know its collection's name, so that a collection can be mirrored under another one."""

NAMED_CLASSES = 20


def render_card(manifest: Manifest) -> str:
    """Return the text of a release's card; the manifest's own record of a card plays no part."""
    summary = escaped(manifest.summary)
    lines = [f"# {manifest.name} {manifest.version}", "", *((summary, "") if summary else ())]
    lines += [*_facts(manifest), "", *_metrics(manifest), *_usage(manifest), *_citation(manifest)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _facts(manifest: Manifest) -> list[str]:
    output = manifest.output
    rows = [
        ("kind", KINDS[manifest.kind]),
        ("classes", _classes(manifest)),
        ("input", str(manifest.input)),
        ("output", f"{output.name}, {output.dtype} {_shape(output.shape)}: {OUTPUTS[output.semantic]}"),
        ("calibration", _calibration(manifest)),
        ("parent", _parent(manifest)),
        ("method", _method(manifest)),
        ("data", _data(manifest)),
        ("licence", manifest.license),
        ("authors", ", ".join(manifest.authors)),
        ("homepage", manifest.homepage or ""),
        ("created", manifest.created),
        *((f"form {form}", _files(files)) for form, files in sorted(manifest.forms.items())),
        ("needs", ", ".join(f"{need.package} {need.version}" for need in manifest.dependencies)),
    ]
    return table(*rows, header=("what", "value"))


def _classes(manifest: Manifest) -> str:
    names = [label.name for label in manifest.classes]
    more = f", and {len(names) - NAMED_CLASSES} more" if len(names) > NAMED_CLASSES else ""
    return ", ".join(names[:NAMED_CLASSES]) + more


def _shape(shape: tuple[str | int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _calibration(manifest: Manifest) -> str:
    calibration = manifest.output.calibration
    if calibration is None:
        return "none: the score is no probability" if manifest.kind == "module" else ""
    error = "" if calibration.ece is None else f", expected calibration error {calibration.ece:.4g}"
    return f"{calibration.method} on {calibration.data}{error}; sigmoid(score) estimates the probability of the class"


def _parent(manifest: Manifest) -> str:
    parent = manifest.parent
    if parent is None:
        return ""
    accuracy = "" if parent.accuracy is None else f", accuracy {parent.accuracy:.4g}"
    return f"{parent.name}, {parent.classes} classes{accuracy}, network {parent.sha256}"


def _method(manifest: Manifest) -> str:
    method = manifest.method
    if method is None:
        return ""
    return f"{method.name} {method.version}" + ("" if method.seed is None else f", seed {method.seed}")


def _data(manifest: Manifest) -> str:
    data = manifest.data
    return "" if data is None else f"{data.name}, {data.split}, {data.samples:,} samples, sha256 {data.sha256}"


def _files(files: tuple[FileRecord, ...]) -> str:
    return f"{sum(file.size for file in files):,} bytes: {', '.join(file.path for file in files)}"


def _metrics(manifest: Manifest) -> Iterator[str]:
    if manifest.metrics:
        yield "## Measured"
        yield ""
        rows = [_metric(name, metric) for name, metric in sorted(manifest.metrics.items())]
        yield from table(*rows, header=("metric", "interval", "split", "samples", "value"))
        yield ""


def _metric(name: str, metric: Metric) -> tuple[str, ...]:
    known = metric.low is not None and metric.high is not None
    interval = f"{metric.low:.6g} to {metric.high:.6g}" if known else ""
    samples = "" if metric.n is None else f"{metric.n:,}"
    return (name, interval, metric.split or "", samples, f"{metric.value:.6g}")


def _usage(manifest: Manifest) -> Iterator[str]:
    yield "## Use"
    yield ""
    if manifest.kind == "base":
        yield "Nobody installs a base by itself: it comes with the modules of its collection that need it."
        return
    name = f"{PLACE}/{manifest.name}"
    yield "```"
    yield f"modhub install {name}=={manifest.version}"
    if manifest.kind == "module":
        yield f"modhub compose {name} {PLACE}/ANOTHER -o model"
    else:
        yield f"modhub compose {name} -o model"
    yield "modhub run model INPUT"
    yield "```"


def _citation(manifest: Manifest) -> Iterator[str]:
    method = manifest.method
    if method is None or method.paper is None:
        return
    found = ARXIV.fullmatch(method.paper)
    paper = f"[{method.paper}](https://arxiv.org/abs/{found[1]})" if found else escaped(method.paper)
    yield ""
    yield "## Cite"
    yield ""
    yield f"The method, {escaped(method.name)}, is that of {paper}."
