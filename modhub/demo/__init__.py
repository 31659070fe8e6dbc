"""The whole story on a real network and real images."""

from __future__ import annotations

from modhub.demo.story import Story, tell_story

__all__ = ["Story", "tell_story"]
