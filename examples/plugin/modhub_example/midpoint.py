"""A glue without learning: the module's score counts from half way between its class and the others.

It shows what a glue has to do: return one affine map of the weak model's columns and the module's score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.composer.glue import Glue, replacing
from modhub.errors import ComposeError, InvalidData

if TYPE_CHECKING:
    from modhub.composer.glue import Seen


def midpoint(*, column: int, train: Seen | None, validation: Seen | None, width: int) -> Glue:
    """Return the glue that leaves all log-odds as they are, but for the class's.

    Args:
        column: the class that is taken over.
        train: what both models say of labelled samples.
        validation: more of it, which this glue does not need.
        width: number of the weak model's columns.

    Raises:
        ComposeError: there is no data.
        InvalidData: the data has no sample of the class, or of another.
    """
    del validation
    if train is None:
        raise ComposeError("the glue 'midpoint' is fitted on data: give --data")
    own = train.labels == column
    if not own.any() or own.all():
        raise InvalidData("the data needs samples of the class that is taken over, and of others", where="y")
    middle = float(train.score[own].mean() + train.score[~own].mean()) / 2
    return replacing(column, width=width, kind="midpoint", reads="odds", scale=1.0, offset=-middle)
