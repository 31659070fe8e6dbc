"""What unfinished work is about, so that it is never taken for other work."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from modhub._version import __version__
from modhub.decomposers.checkpoint import Checkpoint
from modhub.network.onnx_file import fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from modhub.datasets import Dataset
    from modhub.decomposers.options import Options
    from modhub.network.network import Network

FREE = ("budget", "checkpoint")
"""Options that may differ when work is resumed: they change how far it gets, not where it goes."""


def keep_unfinished(
    folder: Path, network: Network, train: Dataset, validation: Dataset, *, method: str, options: Options
) -> Checkpoint:
    """Return a checkpoint in a folder for splitting this network, on this data, in this way."""
    subject = {
        "modhub": __version__,
        "method": method,
        "network": fingerprint(network),
        "data": train.sha256,
        "validation data": validation.sha256,
        **{name.name: getattr(options, name.name) for name in dataclasses.fields(options) if name.name not in FREE},
    }
    return Checkpoint(folder, subject=subject)
