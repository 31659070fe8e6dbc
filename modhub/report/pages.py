"""Reports as HTML: one file each, with nothing outside it, light or dark as the reader's system is.

Templates escape every value; pictures are SVG made here and marked as such.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from modhub._version import __version__
from modhub.report.figures.curve import curve_panel
from modhub.report.figures.kept import kept_panel
from modhub.report.figures.overlap import overlap_panel
from modhub.report.figures.scores import confusion_panel, reliability_panel
from modhub.report.figures.sheet import inline_svg
from modhub.report.labels import printable
from modhub.report.samples import first_of_each, most_wrong
from modhub.report.scores import confusion_of, reliability_of
from modhub.report.words import byte_size, interval, percent, pinned_list, shown_count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modhub.datasets import Dataset
    from modhub.engines.evaluation import Evaluation
    from modhub.metrics import Scored
    from modhub.package.package import Package
    from modhub.report.document import Report
    from modhub.report.figures.style import Panel
    from modhub.report.scores import Confusion, Reliability
    from modhub.report.subject import Subject
    from modhub.spec.manifest import Metric

SHARES = {
    "precision": "precision",
    "recall": "recall",
    "F1": "f1",
    "kernels": "kernels_kept",
    "weights": "weights_kept",
    "MACs": "macs",
}
"""Columns of the table of modules, with the metrics that they show."""
CAPTIONS = {
    "kept": "Above: what the parent has, and how much of it modules keep. Below, where there are several: a row each.",
    "curve": "Each point: all modules composed, on validation data, at one step of the decomposer, before calibration.",
    "overlap": "Overlap: of each two modules, the weights that both keep, in per cent of those that either keeps.",
    "shared": "Overlap: of each two scores, the weights that both are computed from, in per cent of those of either.",
    "confusion": "Confusion matrix: the class with the highest score, for the samples of each class.",
    "reliability": "Calibration curve of the probabilities: {about}. Below: how many fall into each bin.",
}
"""What to say below a picture."""
SHRINKS = 6.4
"""Inches up to which a picture may be drawn smaller to fit beside another; wider ones are scrolled."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A picture on a page: its title, the picture itself, what to say below it, and whether it may shrink to fit."""

    title: str
    svg: Markup
    caption: str
    shrinks: bool


def pictures_page(name: str, panels: Mapping[str, Panel]) -> str:
    """Return a page with some pictures and nothing else."""
    figures = [drawn(panel, number=i) for i, panel in enumerate(panels.values())]
    return _page("pictures.html", title=name, lead="", figures=figures)


def decomposition_page(report: Report, data: Dataset | None = None) -> str:
    """Return the report on a decomposition as a page.

    Args:
        report: what to tell.
        data: the validation data that the report's scores are for, to show samples of.
    """
    base = report.packages[0].manifest
    parent = base.parent.name if base.parent is not None else base.name
    confusion = report.confusion
    method = report.packages[1].manifest.method if len(report.packages) > 1 else None
    return _page(
        "decomposition.html",
        title=f"{parent}, split into {shown_count(len(report.classes), 'class module')}",
        lead=f"{method.name if method else ''}{_paper(report)}. {base.created[:10]}, version {base.version}.",
        facts=decomposition_facts(report),
        columns=[("module", False), *((title, True) for title in SHARES), ("size", True)],
        rows=[_module_row(package) for package in report.packages[1:]],
        figures=_figures_of(report, confusion),
        worst=confusion.worst() if confusion is not None else [],
        pinned=pinned_list(report.pinned),
        pinned_sentence=report.pinned_sentence,
        site_columns=[("site", False), ("id", False), ("channels", True), ("weights", True), ("state", False)],
        site_rows=[
            [
                row.name,
                row.id,
                f"{row.channels:,}",
                f"{row.weights:,}",
                f"pinned: {row.pinned}" if row.pinned else row.state,
            ]
            for row in report.kept.sites
        ],
        commands=report.commands,
        **_samples(data, report.scored, report.classes),
    )


def decomposition_facts(report: Report) -> list[tuple[str, str, str]]:
    """Return the summary: name, value and a note each."""
    base = report.packages[0]
    parent, composed = base.manifest.metrics.get("accuracy"), report.composed_accuracy
    modules = report.packages[1:]
    facts = [("modules", f"{len(modules)}", "one per class")]
    if composed is not None:
        facts.append(
            ("composed accuracy", percent(composed.value), f"validation data, 95 % interval {interval(composed)}")
        )
    if parent is not None:
        facts.append(
            ("the parent's accuracy", percent(parent.value), f"the same data, 95 % interval {interval(parent)}")
        )
    share = report.kept.mean_share
    if share is not None:
        facts.append((f"{report.kept.measure} kept", percent(share), "behind the trunk, mean over modules"))
    if report.reliability is not None:
        facts.append(("calibration error", percent(report.reliability.error), "expected, all scores"))
    sizes = [package.size for package in modules]
    facts.append(("size", byte_size(base.size + sum(sizes)), f"{byte_size(base.size)} of it the base"))
    facts.append(("trunk ends at", report.cut or "nowhere", "" if report.cut else "modules share no trunk"))
    return facts


def evaluation_page(
    name: str,
    evaluation: Evaluation,
    *,
    data: Dataset | None = None,
    source: str = "",
    subject: Subject | None = None,
    commands: Sequence[str] = (),
) -> str:
    """Return an evaluation as a page.

    Args:
        name: what was evaluated.
        evaluation: what was measured.
        data: what it was measured on, to show samples of.
        source: what the data is called.
        subject: what it keeps of its parent, or what its columns share, where that is known.
        commands: what to type to get the same.
    """
    scored, confusion, reliability = evaluation.scored, None, None
    if scored is not None:
        confusion = confusion_of(scored, evaluation.columns)
        reliability = reliability_of(scored)
    figures = _all_drawn({**_score_panels(confusion, reliability), **_inner_panels(subject)}, reliability)
    if subject is not None and figures["overlap"] is not None and subject.kept is None:
        figures["overlap"] = dataclasses.replace(figures["overlap"], caption=CAPTIONS["shared"])
    titles = {"precision": "precision", "recall": "recall", "F1": "f1"}
    return _page(
        "evaluation.html",
        title=name,
        lead=f"Measured on {shown_count(evaluation.samples, 'sample')}{f' of {source}' if source else ''}.",
        facts=evaluation_facts(evaluation),
        columns=[("class", False), *((title, True) for title in titles)],
        rows=[
            [label, *(f"{percent(found[key].value)} ({interval(found[key])})" for key in titles.values())]
            for label, found in evaluation.classes.items()
        ],
        figures=figures,
        worst=confusion.worst() if confusion is not None else [],
        commands=commands,
        **_samples(data, scored, evaluation.columns),
    )


def evaluation_facts(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """Return the summary: name, value and a note each."""
    facts = [("classes", f"{len(evaluation.columns)}", "")]
    if evaluation.accuracy is not None:
        facts.append(("accuracy", percent(evaluation.accuracy.value), f"95 % interval {interval(evaluation.accuracy)}"))
    if evaluation.calibration_error is not None:
        facts.append(("calibration error", percent(evaluation.calibration_error), "expected, mean over classes"))
    facts.append(("parameters", f"{evaluation.parameters:,}", byte_size(evaluation.bytes)))
    facts.append(("multiply-accumulates", f"{evaluation.macs:,}", "for one input"))
    facts.extend(
        (f"latency of {batch}", f"{value:.2f} ms", "median, one thread") for batch, value in evaluation.latency.items()
    )
    return facts


def drawn(panel: Panel, *, number: int, caption: str = "") -> Drawn:
    """Return a panel as a picture for a page; the page bears its title."""
    bare = dataclasses.replace(panel, title="", height=panel.height - 0.3)
    # The picture is markup that matplotlib made, with every text in it escaped.
    svg = Markup(inline_svg(bare, number=number, text=str(escape(panel.title))))  # noqa: S704
    return Drawn(title=panel.title, svg=svg, caption=caption, shrinks=panel.width <= SHRINKS)


def _figures_of(report: Report, confusion: Confusion | None) -> dict[str, Drawn | None]:
    panels = {
        "kept": kept_panel(report.kept),
        "curve": curve_panel(report.curve) if report.curve is not None else None,
        "overlap": overlap_panel(report.overlap) if report.overlap is not None else None,
        **_score_panels(confusion, report.reliability),
    }
    return _all_drawn(panels, report.reliability)


def _score_panels(confusion: Confusion | None, reliability: Reliability | None) -> dict[str, Panel | None]:
    return {
        "confusion": confusion_panel(confusion) if confusion is not None else None,
        "reliability": reliability_panel(reliability) if reliability is not None else None,
    }


def _inner_panels(subject: Subject | None) -> dict[str, Panel | None]:
    kept, overlap = (None, None) if subject is None else (subject.kept, subject.overlap)
    return {
        "kept": kept_panel(kept) if kept is not None else None,
        "overlap": overlap_panel(overlap) if overlap is not None else None,
    }


def _all_drawn(panels: Mapping[str, Panel | None], reliability: Reliability | None) -> dict[str, Drawn | None]:
    """Return every panel drawn, each with its caption; the calibration's says which probabilities it is about."""
    about = ""
    if reliability is not None:
        about = f"{reliability.what}; the expected error is {percent(reliability.error)}"
    found: dict[str, Drawn | None] = {}
    for number, (kind, panel) in enumerate(panels.items()):
        caption = CAPTIONS[kind].format(about=about)
        found[kind] = None if panel is None else drawn(panel, number=number, caption=caption)
    return found


def _samples(data: Dataset | None, scored: Scored | None, classes: Sequence[str]) -> dict[str, Any]:
    if data is None or scored is None or len(classes) < 2:
        return {"firsts": [], "wrongs": []}
    return {"firsts": first_of_each(data, scored, classes), "wrongs": most_wrong(data, scored, classes)}


def _module_row(package: Package) -> list[str]:
    metrics: Mapping[str, Metric] = package.manifest.metrics
    shares = [percent(metrics[key].value) if key in metrics else "-" for key in SHARES.values()]
    return [package.manifest.classes[0].name, *shares, byte_size(package.size)]


def _paper(report: Report) -> str:
    method = report.packages[1].manifest.method if len(report.packages) > 1 else None
    return f" ({method.paper})" if method is not None and method.paper else ""


def _page(template: str, **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("modhub.report"),
        autoescape=True,
        undefined=StrictUndefined,
        # Pictures are markup, whatever else is text of strangers.
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(version=__version__, **values)
