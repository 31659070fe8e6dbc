"""`modhub run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modhub.cli.options import json_option
from modhub.cli.output import print_json, print_table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from modhub.flow import Runnable

SHOWN = 50


@click.command(epilog="Example: modhub run pets cat.png dog.png")
@click.argument("target")
@click.argument("inputs", nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="How many classes to show.")
@json_option
def command(target: str, inputs: tuple[str, ...], *, top: int, as_json: bool) -> None:
    """Score INPUTS with TARGET: an .onnx file, or the folder of a module, base or composite.

    INPUTS are images, folders, or files as `--data` of other commands takes them. A calibrated score is shown with the
    probability it stands for.
    """
    from modhub import flow
    from modhub.datasets import load_dataset

    runnable = flow.open_target(target)
    answers = []
    for source in inputs:
        data = load_dataset(source)
        scores = flow.run(runnable, data)
        answers += [answer(row, runnable, f"{source}[{i}]" if len(scores) > 1 else source) for i, row in enumerate(scores)]
    if as_json:
        print_json(answers)
        return
    rows = [
        {
            "input": item["input"],
            **{f"#{place + 1}": shown(item["scores"][place]) for place in range(min(top, len(item["scores"])))},
        }
        for item in answers[:SHOWN]
    ]
    print_table(rows)
    if len(answers) > SHOWN:
        click.echo(f"... and {len(answers) - SHOWN} more; --json prints all")


def answer(row: npt.NDArray[np.float32], runnable: Runnable, name: str) -> dict[str, Any]:
    """Return one input's scores, highest first, as plain values."""
    from modhub.metrics import sigmoid

    order = (-row).argsort(kind="stable")
    probability = sigmoid(row) if runnable.calibrated else None
    scores = [
        {
            "class": runnable.columns[column],
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
