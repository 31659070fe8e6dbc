"""Who asks, and what that one may do."""

from __future__ import annotations
