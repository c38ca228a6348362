"""Draw one picture of a figure in a hue ("red ring"): any place, size, angle and lighting, over dull clutter.

The hue and the figure are the class; everything else is noise that a network has to learn to ignore.
Positions are complex numbers, x + iy in pixels, so that to turn and scale a figure is one multiplication.
"""

import colorsys

import numpy as np
from PIL import Image, ImageDraw

HUES = {"red": 0, "yellow": 50, "green": 125, "blue": 215, "violet": 290}  # degrees on the colour wheel
FIGURES = ("ring", "star", "stripes", "chequers")

NUM_CLUTTER = 9  # distracting shapes in a picture
GRAIN = 24  # width of the uniform noise on each pixel, in grey levels


def draw(hue: str, figure: str, width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """One RGB picture of width x height pixels; the generator decides all that the arguments leave open."""
    side = min(width, height)
    image = _shaded(_dull(rng, 16).reshape(4, 4, 3), width, height)
    pen = ImageDraw.Draw(image)
    for _ in range(NUM_CLUTTER):
        place = complex(rng.uniform(0, width), rng.uniform(0, height))
        corners = _unit(np.sort(rng.uniform(0, 1, int(rng.integers(3, 7)))))
        pen.polygon(_points(place + side * rng.uniform(0.03, 0.15) * corners), fill=tuple(_dull(rng, 1)[0]))

    # The figure stays within the central square, which is what the paper's resizing keeps of the picture.
    place = complex(width, height) / 2 + side * complex(rng.uniform(-0.12, 0.12), rng.uniform(-0.12, 0.12))
    scale = side * rng.uniform(0.28, 0.46) * _unit(rng.uniform(0, 1))
    mask = Image.new("L", image.size)
    pen = ImageDraw.Draw(mask)
    for corners, ink in _outlines(figure):
        pen.polygon(_points(place + scale * corners), fill=ink)
    tint = (HUES[hue] + rng.uniform(-14, 14)) / 360 % 1
    tones = [colorsys.hsv_to_rgb(tint, rng.uniform(0.55, 1), rng.uniform(0.45, 1)) for _ in range(4)]
    image.paste(_shaded(np.reshape(tones, (2, 2, 3)) * 255, width, height), mask=mask)

    pixels = np.asarray(image).astype(np.int16)
    pixels += rng.integers(-GRAIN // 2, GRAIN // 2, pixels.shape, dtype=np.int8)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _outlines(figure: str) -> list[tuple[np.ndarray, int]]:
    """The figure in the unit circle: polygons (complex corners) to fill one after the other with 255 or 0."""
    if figure == "ring":
        circle = _unit(np.arange(48) / 48)
        return [(circle, 255), (0.55 * circle, 0)]
    if figure == "star":
        return [(_unit(np.arange(10) / 10) * np.where(np.arange(10) % 2, 0.42, 1), 255)]
    square = np.array([0, 1, 1 + 1j, 1j])
    corner, side = -0.75 - 0.75j, 1.5
    if figure == "stripes":
        bar = side * (square.real + square.imag * 1j / 7)
        return [(corner + bar + side * 1j * row / 7, 255) for row in range(0, 7, 2)]
    if figure == "chequers":
        cells = [complex(x, y) for x in range(5) for y in range(5) if (x + y) % 2 == 0]
        return [(corner + side * (cell + square) / 5, 255) for cell in cells]
    raise ValueError(f"no figure is called {figure!r}; there are {', '.join(FIGURES)}")


def _unit(turns: np.ndarray | float) -> np.ndarray:
    """Unit complex numbers at these fractions of a full turn."""
    return np.exp(2j * np.pi * np.asarray(turns))


def _points(corners: np.ndarray) -> list[tuple[float, float]]:
    return [(corner.real, corner.imag) for corner in corners.tolist()]


def _dull(rng: np.random.Generator, num_colours: int) -> np.ndarray:
    """Greys with a little of any hue in them, uint8 [num_colours, 3]."""
    lightness, chroma = rng.uniform(70, 190, (num_colours, 1)), rng.uniform(-30, 30, (num_colours, 3))
    return (lightness + chroma).astype(np.uint8)


def _shaded(colours: np.ndarray, width: int, height: int) -> Image.Image:
    """A picture that runs smoothly through a coarse [rows, columns, 3] grid of colours, 0 to 255."""
    return Image.fromarray(colours.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
