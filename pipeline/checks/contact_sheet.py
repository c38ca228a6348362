"""A dataset at a glance: a contact sheet of its images.

The images lie at even distances in the order of the ids, so a sheet shows every part of a dataset, and always the same.
They are shown as the loader gets them, each whole and within its cell.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from imagefeed.pipeline.checks.scan import payloads_of_rows, pixels_of
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.image.jpeg.codec import JpegCodec

CELL, CAPTION, MARGIN = 176, 34, 6  # pixels
PAPER, INK, FAINT = "#fbfaf7", "#1f2328", "#6b7280"


def contact_sheet(dataset: Split, path: Path, num_images: int = 48, columns: int = 8) -> int:
    """Draws `num_images` images of `dataset`, with class, id and size, to `path` (PNG); returns how many there were.

    Raises `BadImage` with the sample where one does not decode, `ValueError` for a name that says another format.
    """
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path}: the sheet is a PNG, give it a name that ends with .png")
    count = min(num_images, len(dataset))
    columns = min(columns, count)
    chosen = np.arange(count) * len(dataset) // count
    across, down = columns, -(-count // columns)
    sheet = Image.new("RGB", (across * CELL + MARGIN, down * (CELL + CAPTION) + MARGIN), PAPER)
    draw, font, small = ImageDraw.Draw(sheet), ImageFont.load_default(13), ImageFont.load_default(11)
    jpeg, inner = JpegCodec(), CELL - MARGIN
    for place, (payload, row) in enumerate(payloads_of_rows(dataset, chosen)):
        pixels = pixels_of(payload, row, jpeg)
        picture = Image.fromarray(pixels)
        picture.thumbnail((inner, inner))
        left, top = place % columns * CELL + MARGIN, place // columns * (CELL + CAPTION) + MARGIN
        sheet.paste(picture, (left + (inner - picture.width) // 2, top + (inner - picture.height) // 2))
        named = dataset.classes[row["label"]]
        draw.text((left, top + inner + 1), fitting(draw, named.words or named.wnid, font, inner), INK, font)
        about = f"{row['id']}   {pixels.shape[0]}x{pixels.shape[1]}   {row['size'] / 1e3:,.1f} kB"
        draw.text((left, top + inner + 17), fitting(draw, about, small, inner), FAINT, small)
    sheet.save(path, "PNG")
    return count


def fitting(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> str:
    """`text`, or its beginning with dots where it is wider than `width` pixels."""
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(text + "...", font) > width:
        text = text[:-1]
    return text.rstrip() + "..."
