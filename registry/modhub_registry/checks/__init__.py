"""What a commit may do to a modhub collection."""

from __future__ import annotations
