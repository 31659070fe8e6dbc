"""Make the pictures of the registry's catalogue, docs/images/catalogue*.png, from the collection in the repository.

    python scripts/catalogue_pictures.py [FOLDER]

It serves the collection on this machine for a moment, opens its pages in Chromium without a window, and writes what is
seen. It needs Chromium, and npm to fetch what runs models in the browser.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from modhub.datasets.samples import read_sample_dataset  # noqa: E402
from modhub_registry.pages.try_page import WEB_FOLDER  # noqa: E402
from modhub_registry.settings import Limits  # noqa: E402
from tests.server.browser import browser  # noqa: E402
from tests.server.published import PLACE, SEEDED, publish, seed_files  # noqa: E402
from tests.server.service import served  # noqa: E402
from tests.support.npm import onnxruntime_web  # noqa: E402

if TYPE_CHECKING:
    from tests.server.browser import Browser

FOLDER = ROOT / "docs" / "images"
MOST_BYTES = 300_000
WIDE = 1120
ADDRESS = "http://localhost:8000"
CAT = 3
TRIES = 5


def main() -> None:
    """Write the pictures, and say how large they are."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    runtime = onnxruntime_web(None)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        with (
            served(root / "registry", limits=Limits(requests_per_minute=0), public_url=ADDRESS) as service,
            browser(root / "profile") as chrome,
        ):
            publish(service, SEEDED, seed_files())
            shutil.copytree(runtime, root / "registry" / WEB_FOLDER)
            for name, data in pictures(chrome, service.url, root):
                path = folder / f"{name}.png"
                path.write_bytes(smaller(data))
                size = path.stat().st_size
                assert size < MOST_BYTES, f"{path}: {size} bytes, more than {MOST_BYTES}"
                print(f"{path}: {size:,} bytes")


def pictures(chrome: Browser, url: str, root: Path) -> list[tuple[str, bytes]]:
    """Return each picture by its name, as PNG."""
    drawn(chrome, f"{url}{PLACE}", ".heat")
    found = [("catalogue", chrome.picture(high=1500))]
    drawn(chrome, f"{url}{PLACE}/cat", ".bars")
    found.append(("catalogue-module", chrome.picture(high=1240)))
    chrome.open(f"{url}/catalog/compose", wide=WIDE, dark=True)
    for name in ("cat", "ship", "truck"):
        chrome.click(f"input[name=class][value={name}]")
    chrome.wait("live.textContent.includes('3 scores')")
    found.append(("catalogue-compose", chrome.picture(high=940)))
    chrome.open(f"{url}/catalog/try?class=cat&class=dog&class=deer&class=ship&class=truck", wide=WIDE)
    chrome.wait("state.textContent.includes('Ready')")
    chrome.choose("#file", cat_image(root))
    chrome.wait("document.querySelectorAll('#scores tbody tr').length")
    return [*found, ("catalogue-try", chrome.picture(high=760))]


def drawn(chrome: Browser, url: str, picture: str) -> None:
    """Open a page until its picture was measured; on a busy machine that takes more than one visit."""
    for _ in range(TRIES):
        chrome.open(url, wide=WIDE)
        if chrome.value(f"document.querySelectorAll('{picture}').length"):
            return
    raise SystemExit(f"{url} shows no picture: {chrome.value('document.body.innerText')[:2000]}")


def cat_image(folder: Path) -> Path:
    """Return a file with an image of a cat."""
    sample = read_sample_dataset("cifar10-test")
    assert sample.y is not None
    pixels = sample.x[int(np.flatnonzero(sample.y == CAT)[0])].transpose(1, 2, 0)
    file = folder / "cat.png"
    Image.fromarray((pixels * 255).round().astype(np.uint8)).save(file)
    return file


def smaller(data: bytes) -> bytes:
    """Return a picture of a page in as many colours as it needs, 256 at most."""
    with Image.open(io.BytesIO(data)) as image:
        few = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    found = io.BytesIO()
    few.save(found, "PNG", optimize=True)
    return found.getvalue()


if __name__ == "__main__":
    main()
