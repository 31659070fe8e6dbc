"""Make the README's pictures anew, from what modhub really prints and computes.

    python scripts/readme_pictures.py

Runs the README's story with the registry and the images that ship with modhub, in a terminal of 80 columns, and writes
to docs/images: `story.svg`, the terminal; `scores.png`, images with the scores of the composite that the story made;
`modules.png`, what the modules of that registry keep and have in common. Takes half a minute; needs Linux or macOS.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from rich.console import Console
from rich.text import Text

from modhub import flow
from modhub.datasets import load_dataset
from modhub.demo.story import picture_of
from modhub.hub.registries import seed_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

IMAGES = Path(__file__).parents[1] / "docs" / "images"
COLLECTION = "modhub/resnet20-cifar10"
TEST = "sample:cifar10-test"
CLASSES = ("cat", "dog", "truck")
STORY = (
    "modhub search cat",
    f"modhub install {COLLECTION}/cat class:dog class:truck",
    "modhub compose modhub.lock -o pets",
    f"modhub evaluate pets --data {TEST}",
    "modhub run pets cat.png truck.png ship.png",
)
PHOTOS = ("cat", "truck", "ship")
"""Classes of which the first test image is scored; no module knows the last one."""
COLUMNS, LINES = 80, 60
LARGEST = 300_000
"""Bytes of a picture: the README is to load fast."""
CONTROL = re.compile(r"(\r\n|\n|\r|\x1b\[\d*A|\x1b\[2K|\x1b\[\?25[lh])")


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=IMAGES)
    output: Path = parser.parse_args().output
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photos(folder)
        pictures = {
            "story.svg": terminal_picture(told(STORY, folder)).encode(),
            "scores.png": scores_picture(folder / "pets"),
        }
    for name, data in pictures.items():
        (output / name).write_bytes(data)
    collection = str(seed_folder() / COLLECTION)
    words = ["modhub", "plot", collection, "--kind", "kept", "--kind", "overlap", "-o", str(output / "modules.png")]
    subprocess.run(words, check=True)
    small(output / "modules.png")
    for name in (*pictures, "modules.png"):
        size = (output / name).stat().st_size
        if size > LARGEST:
            sys.exit(f"{output / name} takes {size:,} bytes, and {LARGEST:,} are the most")
        print(f"{output / name}: {size:,} bytes")


def write_photos(folder: Path) -> None:
    """Write the first test image of each class that the story scores."""
    data = load_dataset(TEST)
    names = data.classes or ()
    for name in PHOTOS:
        row = int(np.flatnonzero(data.labels == names.index(name))[0])
        Image.fromarray(np.ascontiguousarray(data.values[row].transpose(1, 2, 0))).save(folder / f"{name}.png")


def told(commands: Sequence[str], folder: Path) -> list[tuple[str, str]]:
    """Return each command with what it left on the terminal, escape sequences for colours included."""
    return [(command, screen(in_terminal(command.split(), folder))) for command in commands]


def in_terminal(words: Sequence[str], folder: Path) -> str:
    """Return all that a command writes to a terminal of its own.

    Raises:
        CalledProcessError: it failed.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
    environment = {**kept, "TERM": "xterm-256color", "MODHUB_STORE": str(folder / "store")}
    with subprocess.Popen(words, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        pieces = []
        while piece := read(ours):
            pieces.append(piece)
    os.close(ours)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(words), output=b"".join(pieces))
    return b"".join(pieces).decode()


def read(terminal: int) -> bytes:
    """Return some bytes from a terminal, none once nobody holds its other end."""
    try:
        return os.read(terminal, 1 << 16)
    except OSError:
        return b""


def screen(written: str) -> str:
    r"""Return what is left to be seen of what was written to a terminal: a line that was wiped is gone.

    >>> screen("fetching\r\x1b[2Kfetching 2 s\r\x1b[2Kdone\r\n")
    'done'
    """
    lines, row = [""], 0
    for piece in CONTROL.split(written):
        if piece in ("\r\n", "\n"):
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif piece == "\x1b[2K":
            lines[row] = ""
        elif re.fullmatch(r"\x1b\[\d*A", piece):
            row -= int(piece[2:-1] or 1)
        elif piece and not CONTROL.fullmatch(piece):
            lines[row] += piece
    return "\n".join(lines).rstrip()


def terminal_picture(story: Sequence[tuple[str, str]]) -> str:
    """Return commands and what they left as an SVG that loads nothing."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for number, (command, left) in enumerate(story):
        if number:
            console.print()
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")), highlight=False)
        console.print(Text.from_ansi(left), highlight=False)
    console.print()
    svg = console.export_svg(title="modhub", unique_id="story")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code", "DejaVu Sans Mono").replace("https://www.textualize.io", "")


def scores_picture(composed: Path) -> bytes:
    """Return images with the scores that a composite gives them, as a PNG."""
    return picture_of(flow.load(composed).network, load_dataset(TEST), CLASSES)


def small(file: Path) -> None:
    """Write a picture again with as many colours as it needs on a page, no more."""
    image = Image.open(file).convert("RGB")
    image.thumbnail((1600, 1600))
    image.quantize(128).save(file, optimize=True)


if __name__ == "__main__":
    main()
