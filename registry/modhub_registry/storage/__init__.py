"""What is kept: blobs by their digest, trees of files, repositories and their history. Nothing here knows HTTP."""

from __future__ import annotations
