"""The README's pictures are those that the script makes, and load nothing."""

from __future__ import annotations

import shlex
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from modhub.cli.main import COMMANDS
from scripts.readme_pictures import COLUMNS, IMAGES, LARGEST, PHOTOS, STORY, screen, terminal_picture


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("one\r\ntwo\r\n", "one\ntwo"),
        ("\x1b[?25lfetching  1 s\r\x1b[2Kfetching  2 s\r\n\x1b[?25h\r\x1b[1A\x1b[2Kdone\r\n", "done"),
        ("first\r\nwork\r\n\x1b[1A\x1b[2K\x1b[1mpackage\x1b[0m", "first\n\x1b[1mpackage\x1b[0m"),
    ],
)
def test_what_was_wiped_is_not_seen(written: str, left: str) -> None:
    assert screen(written) == left


def test_a_terminal_becomes_a_picture_that_loads_nothing() -> None:
    svg = terminal_picture([("modhub search <cat>", "\x1b[1mpackage\x1b[0m"), ("modhub run", "\u732b & [b]")])
    texts = "".join(ET.fromstring(svg).itertext()).replace("\xa0", " ")  # noqa: S314  Made by us.
    assert "modhub search <cat>" in texts
    assert "\u732b & [b]" in texts
    assert "url(http" not in svg
    assert "https://" not in svg
    assert "@font-face" not in svg


def test_the_story_is_of_commands_that_exist_and_fit() -> None:
    for command in STORY:
        words = shlex.split(command)
        assert (words[0], words[1] in COMMANDS) == ("modhub", True)
        assert len(command) + 2 <= COLUMNS
    assert all(f"{name}.png" in STORY[-1] for name in PHOTOS)


def test_the_pictures_in_the_repository_are_small_and_tell_the_story() -> None:
    texts = "".join(ET.parse(IMAGES / "story.svg").getroot().itertext()).replace("\xa0", " ")  # noqa: S314
    assert all(" ".join(command.split()[:2]) in texts for command in STORY)
    for file in ("story.svg", "scores.png", "modules.png"):
        assert (IMAGES / file).stat().st_size <= LARGEST
    for file in ("scores.png", "modules.png"):
        with Image.open(IMAGES / file) as image:
            image.verify()
