"""Files that run code when they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modhub.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pt2", ".pth")


def refuse_pickle(path: Path) -> None:
    """Check that a file is none of those that run code when they are read.

    Raises:
        UsageError: it is.
    """
    if path.suffix.lower() in PICKLES:
        problem = f"{path} holds pickles, which run code when they are read"
        raise UsageError(f"{problem}: export the model to ONNX, or save its weights as safetensors")
