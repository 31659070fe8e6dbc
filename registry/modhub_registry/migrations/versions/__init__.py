"""One file a step, oldest first by their chain."""

from __future__ import annotations
