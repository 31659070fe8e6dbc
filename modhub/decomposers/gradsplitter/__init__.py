"""GradSplitter: kernel masks learned by gradient; recipe `fast` and the authors' own."""

from __future__ import annotations

from modhub.decomposers.gradsplitter.fast import gradsplitter

__all__ = ["gradsplitter"]
