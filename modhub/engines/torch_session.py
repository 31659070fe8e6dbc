"""Networks in torch, run as `modhub.engines.runtime` runs them in ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from modhub.engines.runtime import BATCH_SIZE
from modhub.engines.torch_engine import to_torch

if TYPE_CHECKING:
    import numpy.typing as npt

    from modhub.network.network import Array, Network


class TorchSession:
    """A network ready to run.

    Raises:
        UnsupportedOperator: torch cannot compute one of its nodes.
    """

    def __init__(self, network: Network) -> None:
        self._net = to_torch(network)

    @torch.no_grad()
    def run(self, x: Array, *, batch_size: int = BATCH_SIZE) -> npt.NDArray[np.float32]:
        """Return the network's output ``[n, k]`` for inputs ``[n, ...]``, computed `batch_size` rows at a time.

        Raises:
            InvalidNetwork: the network fails on them.
        """
        rows = torch.from_numpy(np.require(x, requirements=["C", "W"]))
        return np.concatenate([self._net(part).numpy() for part in torch.split(rows, batch_size)])
