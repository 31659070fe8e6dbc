"""CNNSplitter: kernel masks found by a genetic search; recipe `fast` and the authors' own."""

from __future__ import annotations

from modhub.decomposers.cnnsplitter.fast import cnnsplitter

__all__ = ["cnnsplitter"]
