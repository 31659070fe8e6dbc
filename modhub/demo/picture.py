"""Images with their scores as bars, drawn with Pillow alone."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from PIL.ImageDraw import ImageDraw

TILE, BAR, LINE, GAP, COLUMNS = 128, 128, 20, 24, 6
WHITE, INK, PALE = (255, 255, 255), (30, 34, 40), (226, 229, 234)
YES, NO = (0, 114, 178), (213, 94, 0)
"""Blue and vermilion of Okabe and Ito's palette, which people with any colour vision tell apart."""


def draw_scores(
    images: npt.NDArray[np.uint8],
    *,
    titles: Sequence[str],
    classes: Sequence[str],
    probabilities: npt.NDArray[np.float64],
) -> bytes:
    """Return a PNG: each image, its true class above, and a bar per class for the probability that its score states.

    Args:
        images: uint8 ``[n, 3, height, width]``.
        titles: the true class of each image.
        classes: what the columns of `probabilities` score.
        probabilities: ``[n, k]``, from 0 to 1.
    """
    from PIL import Image, ImageDraw, ImageFont

    height = LINE + TILE + len(classes) * LINE + GAP
    rows = -(-len(images) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (TILE + GAP) + GAP, rows * height + 2 * GAP + LINE), WHITE)
    draw = ImageDraw.Draw(sheet)
    font, bold = ImageFont.load_default(13), ImageFont.load_default(15)
    draw.text((GAP, GAP // 2), "Probability that each class module states (modules are one-vs-rest)", INK, font=bold)
    for i, pixels in enumerate(images):
        x, y = GAP + (i % COLUMNS) * (TILE + GAP), GAP + LINE + (i // COLUMNS) * height
        draw.text((x, y), titles[i], INK, font=bold)
        tile = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).resize(
            (TILE, TILE), Image.Resampling.NEAREST
        )
        sheet.paste(tile, (x, y + LINE))
        for k, name in enumerate(classes):
            _bar(
                draw,
                (x, y + LINE + TILE + 4 + k * LINE),
                name,
                float(probabilities[i, k]),
                right=name == titles[i],
                font=font,
            )
    data = io.BytesIO()
    sheet.save(data, format="PNG", optimize=True)
    return data.getvalue()


def _bar(draw: ImageDraw, place: tuple[int, int], name: str, share: float, *, right: bool, font: object) -> None:
    x, y = place
    width = round(BAR * share)
    draw.rectangle((x, y, x + BAR, y + LINE - 4), fill=PALE)
    if width > 0:
        draw.rectangle((x, y, x + width, y + LINE - 4), fill=YES if right else NO)
    ink = WHITE if width > BAR * 0.6 else INK
    draw.text((x + 4, y), name, ink, font=font)  # type: ignore[arg-type]
    # The number stands inside the bar where that is long, and behind it where there is room.
    inside = width > BAR * 0.6
    end = x + (width if inside else BAR) - 4
    draw.text((end, y), f"{100 * share:.0f} %", ink, font=font, anchor="ra")  # type: ignore[arg-type]
