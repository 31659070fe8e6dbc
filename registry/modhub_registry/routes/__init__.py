"""The routes, one file a subject: each parses a request, asks `storage` and answers."""

from __future__ import annotations
