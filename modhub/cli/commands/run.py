"""`modhub run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modhub.cli.options import json_option
from modhub.cli.output import print_json, print_table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from modhub.engines.model import Model

SHOWN = 50


@click.command(epilog="\b\nExample: modhub run pets cat.png dog.png")
@click.argument("target")
@click.argument("inputs", nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="How many classes to show.")
@click.option(
    "--engine",
    type=click.Choice(["onnxruntime", "torch"]),
    default="onnxruntime",
    show_default=True,
    help="What computes the scores.",
)
@json_option
def command(target: str, inputs: tuple[str, ...], *, top: int, engine: str, as_json: bool) -> None:
    """Score INPUTS with TARGET: an .onnx file, or the folder of a module, base or composite.

    INPUTS are images, folders, or files as `--data` of other commands takes them. A calibrated score is shown as the
    probability it stands for.
    """
    from modhub import flow
    from modhub.datasets import load_dataset

    model = flow.load(target)
    answers = []
    for source in inputs:
        scores = flow.run(model, load_dataset(source), engine=engine)
        answers += [answer(row, model, f"{source}[{i}]" if len(scores) > 1 else source) for i, row in enumerate(scores)]
    if as_json:
        print_json(answers)
        return
    places = range(min(top, len(model.columns)))
    print_table(
        [{"input": a["input"], **{f"#{i + 1}": shown(a["scores"][i]) for i in places}} for a in answers[:SHOWN]]
    )
    if len(answers) > SHOWN:
        click.echo(f"... and {len(answers) - SHOWN} more; --json prints all")


def answer(row: npt.NDArray[np.float32], model: Model, name: str) -> dict[str, Any]:
    """Return one input's scores, highest first, as plain values."""
    from modhub.metrics import sigmoid

    order = (-row).argsort(kind="stable")
    probability = sigmoid(row) if model.calibrated else None
    scores = [
        {
            "class": model.columns[column],
            "score": float(row[column]),
            "probability": None if probability is None else float(probability[column]),
        }
        for column in order.tolist()
    ]
    return {"input": name, "scores": scores}


def shown(score: dict[str, Any]) -> str:
    """Return a score in words."""
    if score["probability"] is None:
        return f"{score['class']} {score['score']:+.2f}"
    return f"{score['class']} {100 * score['probability']:.0f} %"
