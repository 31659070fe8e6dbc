"""Where torch can compute."""

from __future__ import annotations

import torch

from modhub.engines.foreign import first_line
from modhub.errors import UsageError


def check_device(name: str) -> None:
    """Check that torch can compute on a device, such as ``cpu`` or ``cuda:1``.

    Raises:
        UsageError: there is no such device here.
    """
    try:
        torch.zeros(1, device=name).add(1)
    except (AssertionError, RuntimeError, NotImplementedError) as error:
        raise UsageError(f"torch cannot compute on {name!r} here: {first_line(error)}") from error
