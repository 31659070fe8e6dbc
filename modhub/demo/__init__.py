"""The whole story on a real network and real images."""

from modhub.demo.story import Story, tell_story

__all__ = ["Story", "tell_story"]
