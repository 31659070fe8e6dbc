"""The catalogue: pages for people, on the same server. They read what the Hub's protocol reads, and change nothing."""

from __future__ import annotations
