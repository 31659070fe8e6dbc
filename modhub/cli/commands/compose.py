"""`modhub compose`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modhub.cli.options import fetching_options, json_option, output_option
from modhub.cli.output import byte_size, print_json, print_text, say
from modhub.cli.progress import working
from modhub.cli.project import check_output, given, plan_of

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.cli.options import Places
    from modhub.composer.compose import Composite
    from modhub.composer.refit import Refit
    from modhub.composer.reject import Rejection


@click.command(epilog="\b\nExample: modhub compose modhub/resnet20-cifar10/cat class:dog -o pets")
@click.argument("requirements", nargs=-1)
@output_option("Folder to write; must not exist.", required=False)
@click.option(
    "--strategy",
    type=click.Choice(["auto", "trunk", "parallel", "union"]),
    default="auto",
    show_default=True,
    help="How modules are joined.",
)
@click.option(
    "--masks",
    type=click.Choice(["materialised", "packed"]),
    default="materialised",
    show_default=True,
    help="How masks of single weights are stored.",
)
@click.option("--calibrate", metavar="DATA", help="Labelled data to fit the scores to, all modules together.")
@click.option(
    "--adapt",
    "adapters",
    multiple=True,
    metavar="KIND",
    type=click.Choice(["layout", "range", "channels", "resize"]),
    help="What may be done to the first module's input for others: layout, range, channels, resize; repeatable.",
)
@click.option("--reject", metavar="auto|THRESHOLD", help='Answer "none of these" below this probability.')
@click.option("--name", default="composite", show_default=True, help="Package name of the composite.")
@click.option("--version", default="1.0.0", show_default=True, help="Version of the composite.")
@fetching_options
@json_option
def command(
    requirements: tuple[str, ...],
    *,
    output: Path | None,
    calibrate: str | None,
    adapters: tuple[str, ...],
    reject: str | None,
    places: Places,
    as_json: bool,
    **how: str,
) -> None:
    """Join modules into one runnable model.

    REQUIREMENTS are what `modhub resolve` takes, folders of packages or collections, or one lock file; without any,
    modhub.toml says what to compose, and how, and the lock beside it is kept while it fits. The model has
    one input and one output, `scores`, with a column per class in the order asked. It is checked against its modules
    run alone before anything is written. A union is cheaper, and not equal to its modules.
    """
    from modhub import flow
    from modhub.composer.reject import parse_reject
    from modhub.datasets import load_dataset
    from modhub.resolver.options import REFUSE
    from modhub.spec.licences import warnings

    plan = plan_of(requirements, places=places, strategy=how["strategy"], calibrate=calibrate, adapting=bool(adapters))
    if plan.recipe is not None:
        how = {key: given(key, value, getattr(plan.recipe, key)) for key, value in how.items()}
        how["licence_conflicts"] = plan.recipe.policy.licence_conflicts or REFUSE
    least = parse_reject(reject) if reject else plan.recipe.reject if plan.recipe else None
    output = check_output(output, plan)
    with working("resolving and fetching") as line:
        parts, lock = flow.gather(plan.requirements, workspace=plan.workspace, lock=plan.lock, request=plan.request)
        line.begin("composing")
        data = None if plan.calibrate is None else load_dataset(plan.calibrate)
        composite = flow.compose(parts, calibrate=data, adapters=adapters, reject=least, lock=lock, **how)
        flow.write_package(composite.package, output)
    if as_json:
        print_json(plain(composite))
        return
    classes = ", ".join(label.name for label in composite.package.manifest.classes)
    print_text(f"composed {len(parts)} module{'s' if len(parts) > 1 else ''} into {output}: scores of {classes}")
    print_text(
        f"strategy {composite.strategy} ({composite.why}); {composite.shared_nodes} computations shared, "
        f"{100 * composite.cost:.0f} % of the work of the modules alone; {byte_size(composite.package.size)}"
    )
    for words in composite.adapters:
        print_text(words)
    if composite.refit is not None:
        print_text(told(composite.refit))
    if composite.rejection is not None:
        print_text(told_of_rejecting(composite.rejection))
    for warning in warnings({str(output): composite.package.manifest.license}):
        say(f"licence: {warning}")
    say(f"next: modhub run {output} IMAGE...")


def told(refit: Refit) -> str:
    """Return in a sentence what calibrating changed."""
    error, right = ([f"{100 * value:.1f} %" for value in pair] for pair in (refit.error, refit.accuracy))
    return (
        f"calibrated: on {refit.samples} held-out samples the calibration error went from {error[0]} to {error[1]}, "
        f"the accuracy from {right[0]} to {right[1]}"
    )


def told_of_rejecting(rejection: Rejection) -> str:
    """Return in a sentence when the composite gives no answer, and what that does."""
    shares = {name: f"{100 * metric.value:.1f} % of {metric.n}" for name, metric in rejection.metrics.items()}
    words = {"answered": "held-out samples of its classes are answered", "rejected": "others are rejected"}
    known = " and ".join(f"{shares[name]} {told}" for name, told in words.items() if name in shares)
    sentence = f'answers "none of these" below a probability of {rejection.threshold:g}'
    return f"{sentence}: {known}" if known else sentence


def plain(composite: Composite) -> dict[str, Any]:
    """Return what was composed as plain values."""
    refit = composite.refit
    return {
        "strategy": composite.strategy,
        "why": composite.why,
        "shared_nodes": composite.shared_nodes,
        "cost": composite.cost,
        "bytes": composite.package.size,
        "adapters": list(composite.adapters),
        "reject": composite.rejection.threshold if composite.rejection else None,
        "calibration": None
        if refit is None
        else {"error": refit.error, "accuracy": refit.accuracy, "n": refit.samples},
        "manifest": composite.package.manifest.to_dict(),
    }
