"""`modhub train`."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modhub.cli.options import PATH, check_free, json_option, output_option
from modhub.cli.output import percent, print_json, say
from modhub.cli.progress import waiting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modhub.training.options import Options

CHOICES = (
    *("objective", "epochs", "batch", "rate", "weight_decay", "optimiser", "clip"),
    *("alpha", "beta", "gamma", "contrast", "temperature"),
    *("flip", "crop", "normalise", "precision", "select", "seed", "device"),
)
"""Options of the command that are options of the training; those left out keep their default."""


@click.command(
    options_metavar="--data DATA -o DIR [OPTIONS]",
    epilog="""\b
Several processes: torchrun --nproc-per-node 4 --no-python modhub train ...
Example: modhub train mynets:resnet18 --data cifar10/ --flip --crop 4 -o out""",
)
@click.argument("model", metavar="FACTORY")
@click.option("--data", metavar="DATA", required=True, help="Labelled: class folders, .npz, .safetensors ...")
@output_option("Folder to write; new, but for --resume.")
@click.option("--validation", metavar="DATA", help="Labelled, to measure on; default: a fifth.")
@click.option("--objective", type=click.Choice(["moda", "plain"]), default="moda", help="Default: moda, modular.")
@click.option("--weights", metavar="FILE", type=PATH, help="Safetensors file to begin with.")
@click.option("--epochs", type=click.IntRange(1), metavar="N", help="Default: 200; 5 for a trained model.")
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Samples per step; default: 128.")
@click.option("--rate", type=float, metavar="R", help="Default: 0.05; 0.005 for a trained model.")
@click.option("--optimiser", type=click.Choice(["sgd", "adamw"]), help="Default: sgd.")
@click.option("--weight-decay", type=float, metavar="D", help="Default: 0, as in the paper.")
@click.option("--clip", type=float, metavar="L", help="Longest gradient.")
@click.option("--alpha", type=float, metavar="W", help="Weight of affinity; default: 1.")
@click.option("--beta", type=float, metavar="W", help="Weight of dispersion; default: 1.")
@click.option("--gamma", type=float, metavar="W", help="Weight of compactness; default: 0.3.")
@click.option("--contrast", type=float, metavar="W", help="Weight of NeMo's contrastive loss; default: 0.")
@click.option("--temperature", type=float, metavar="T", help="Of the contrastive loss; default: 0.2.")
@click.option("--flip", is_flag=True, default=None, help="Mirror images at random.")
@click.option("--crop", type=click.IntRange(0), metavar="PIXELS", help="Pad images, crop them at random.")
@click.option("--normalise/--raw", default=None, help="Put the data's mean and deviation inside.")
@click.option("--precision", type=click.Choice(["no", "bf16", "fp16"]), help="Mixed precision; default: no.")
@click.option("--select", type=click.Choice(["last", "best"]), help="Which weights to take; default: last.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in DIR.")
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Seed of every random choice.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where to train; default: auto.")
@json_option
def command(model: str, *, data: str, output: Path, as_json: bool, **choices: Any) -> None:
    """Train a classifier so that it splits well (MODA), or plainly.

    FACTORY is package.module:factory, which runs your own code, or an .onnx to fine-tune. Writes model.onnx and
    weights.safetensors for `modhub decompose`, train.json, checkpoints, and a log for TensorBoard.
    """
    from modhub import flow
    from modhub.datasets import load_dataset
    from modhub.engines.model import need_torch

    need_torch("training")
    from modhub.training.train import is_first_process

    if is_first_process() and not choices["resume"]:
        check_free(output)
    options = options_of(model, choices)
    train = load_dataset(data)
    held_out = load_dataset(choices["validation"]) if choices["validation"] else None
    # A factory is found where `python -m` would find it; an installed command does not look there by itself.
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        with waiting("training") if is_first_process() else nullcontext():
            trained = flow.train(
                model,
                train,
                output,
                validation=held_out,
                options=options,
                weights=choices["weights"],
                resume=choices["resume"],
                progress=tell,
            )
    finally:
        sys.path.remove(here)
    if is_first_process():
        show(trained.report, output, as_json=as_json)


def options_of(model: str, choices: Mapping[str, Any]) -> Options:
    """Return how to train: what was asked for, and else what suits a new or a trained model.

    Raises:
        UsageError: a value means nothing.
    """
    from modhub.engines.model import is_factory
    from modhub.training.options import Options

    given = {name: choices[name] for name in CHOICES if choices[name] is not None}
    return Options(**given) if is_factory(model) else Options.fine_tuning(**given)


def tell(event: Mapping[str, Any]) -> None:
    """Tell about an epoch."""
    names = ("affinity", "dispersion", "compactness", "contrast")
    terms = ", ".join(f"{name} {event[name]:.3f}" for name in names if name in event)
    loss = f"loss {event['loss']:.4f}" + (f" ({terms})" if terms else "")
    accuracy = percent(event["accuracy"])
    say(f"   epoch {event['epoch']}/{event['epochs']}: {loss}, accuracy {accuracy}, {event['seconds']:.1f} s")


def show(report: Mapping[str, Any], output: Path, *, as_json: bool) -> None:
    """Print what came of it."""
    if as_json:
        print_json(report)
        return
    accuracy, epochs = percent(report["accuracy"]["value"]), report["options"]["epochs"]
    told = "1 epoch" if epochs == 1 else f"{epochs} epochs"
    click.echo(f"trained {told} in {report['seconds']:.0f} s: accuracy {accuracy} on validation data")
    click.echo(f"wrote {output / 'model.onnx'}")
    say(f"next: modhub decompose {output / 'model.onnx'} --method moda --data DATA -o split")
