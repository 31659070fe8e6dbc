"""`modhub run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from modhub.cli.options import json_option
from modhub.cli.output import print_json, print_table
from modhub.cli.progress import waiting
from modhub.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from modhub.engines.model import Model

SHOWN = 50
NONE = "none of these"


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
@click.option(
    "--reject", metavar="auto|THRESHOLD", help='Answer "none of these" below this probability; default: as composed.'
)
@json_option
def command(target: str, inputs: tuple[str, ...], *, top: int, engine: str, reject: str | None, as_json: bool) -> None:
    """Score INPUTS with TARGET: an .onnx file, or the folder of a module, base or composite.

    INPUTS are images, folders, or files as `--data` of other commands takes them. A calibrated score is shown as the
    probability it stands for.
    """
    from modhub import flow
    from modhub.datasets import load_dataset

    with waiting("scoring"):
        model = flow.load(target)
        least = threshold(model, reject)
        answers = []
        for source in inputs:
            scores = flow.run(model, load_dataset(source), engine=engine)
            names = [f"{source}[{i}]" for i in range(len(scores))] if len(scores) > 1 else [source]
            answers += [answer(row, model, name, least=least) for row, name in zip(scores, names, strict=True)]
    if as_json:
        print_json(answers)
        return
    places = range(min(top, len(model.columns)))
    print_table(
        [
            {
                "input": a["input"],
                **({} if least is None else {"answer": a["answer"] or NONE}),
                **{f"#{i + 1}": shown(a["scores"][i]) for i in places},
            }
            for a in answers[:SHOWN]
        ]
    )
    if len(answers) > SHOWN:
        click.echo(f"... and {len(answers) - SHOWN} more; --json prints all")


def threshold(model: Model, wish: str | None) -> float | None:
    """Return the probability below which there is no answer: as asked for, or as the model was composed.

    Raises:
        UsageError: the wish is no probability, or the model's scores are none.
    """
    from modhub.composer.reject import AUTO, EVEN, parse_reject

    if wish is None:
        return model.reject
    if not model.calibrated:
        raise UsageError("--reject takes calibrated scores, and those of this model are not")
    least = parse_reject(wish)
    return (model.reject or EVEN) if least == AUTO else float(least)


def answer(row: npt.NDArray[np.float32], model: Model, name: str, *, least: float | None = None) -> dict[str, Any]:
    """Return one input's scores, highest first, and its class, as plain values; none below a probability."""
    from modhub.metrics import answers, sigmoid

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
    (found,) = answers(row[None], least=least).tolist()
    return {"input": name, "answer": model.columns[found] if found >= 0 else None, "scores": scores}


def shown(score: dict[str, Any]) -> str:
    """Return a score in words."""
    if score["probability"] is None:
        return f"{score['class']} {score['score']:+.2f}"
    return f"{score['class']} {100 * score['probability']:.0f} %"
