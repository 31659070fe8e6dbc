"""MODA: networks trained to be modular, and their modules (Ngo, Hassan and others, arXiv:2411.01074).

`ModularityLoss` is the loss term for any training loop in torch; `moda` extracts the modules afterwards.
"""

from __future__ import annotations

from modhub.decomposers.moda.extraction import moda
from modhub.decomposers.moda.loss import ModularityLoss

__all__ = ["ModularityLoss", "moda"]
