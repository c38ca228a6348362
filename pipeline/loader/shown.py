"""A dataset as a line and, in a notebook, as a small table with pictures."""

import base64
import io
from html import escape

import numpy as np
from PIL import Image

from imagefeed.pipeline.dataset.sample_store import SampleStore
from imagefeed.pipeline.dataset.split import Split
from imagefeed.pipeline.loader.stored_images import StoredImages

MOST_NAMED = 48  # characters of a path in a line
SHOWN = 8  # samples, spread over the table
PICTURE_SIDE = 96  # pixels at most


def name_of(dataset: SampleStore) -> str:
    """What the user calls a dataset, quoted; of a long path the end."""
    name = dataset.called
    return repr(name if len(name) <= MOST_NAMED else f"...{name[-MOST_NAMED + 3 :]}")


def line_of(dataset: Split) -> str:
    """Name, numbers and format."""
    classes = f"{len(dataset.classes):,} classes"
    return f"Dataset({name_of(dataset)}: {len(dataset):,} samples of {classes}, {dataset.manifest.format})"


def html_of(dataset: SampleStore) -> str:
    """Its line over a row of pictures, each with its class. Decodes as many images."""
    stored = StoredImages(dataset)
    cells = []
    for row in np.linspace(0, len(dataset) - 1, min(SHOWN, len(dataset))).astype(int).tolist():
        image, its_class = stored(row), dataset.classes[int(dataset.columns.label[row])]
        (height, width, _), name = image.shape, escape(its_class.short)
        shown = f'<img src="{picture(image)}" alt="{name}"><br>{name}<br>{width} x {height}'
        cells.append(f'<td style="text-align: center">{shown}</td>')
    return f"<p>{escape(repr(dataset))}</p><table><tr>{''.join(cells)}</tr></table>"


def picture(image: np.ndarray) -> str:
    """An image (uint8 [H, W, 3]) reduced to `PICTURE_SIDE`, as the address of a JPEG that holds its own bytes."""
    small, file = Image.fromarray(image), io.BytesIO()
    small.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    small.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
