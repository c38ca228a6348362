"""Where the time of one image goes in conversion: its stages, each with all before it, on one thread.

    python -m benchmarks.bench_shrink --source DIR

Microseconds of processor time an image, paper geometry, JPEG at quality 90: what a stage adds to those before it, of
passes over all photographs in turn. libjpeg-turbo's own decoding and (as OpenCV's copy of it) encoding stand beside it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import tyro

from benchmarks.record import record
from imagefeed.pipeline.dataset.statistics import Moments, PixelSums
from imagefeed.pipeline.image.decoder import decode_box, examine, planes_of
from imagefeed.pipeline.image.jpeg.codec import Coding
from imagefeed.pipeline.image.jpeg.encoder import encode
from imagefeed.pipeline.image.jpeg.planes import paint, planes_in
from imagefeed.pipeline.image.resample import apply, filters, reach
from imagefeed.pipeline.image.resize import Resize, Rule, crop_geometry
from imagefeed.pipeline.image.stored import HuffmanTables
from imagefeed.pipeline.image.transcode_kernel import (
    NO_ROOM,
    TranscodeScratch,
    new_scratch,
    pixels_in,
    transcode,
    with_room,
)
from imagefeed.pipeline.image.transcoder import NO_IMAGE
from imagefeed.pipeline.image.turbojpeg import OK, decompress, jpeg_size
from imagefeed.pipeline.jit.njit import njit

STAGES = ("call", "header, its tables", "entropy decoding", "inverse DCT", "colour, resampling", "encoding", "pixels")


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What to measure."""

    source: Path
    """A folder with photographs."""
    huffman: HuffmanTables = "shared"
    """Codes that are written."""
    passes: int = 15
    """Over all photographs, of each stage in turn."""


@njit
def up_to(scratch: TranscodeScratch, rule: Rule, stage: int, data: np.ndarray) -> int:
    """The work of `transcode` on a JPEG of a common kind as far as a stage; returns that stage."""
    if stage == 0:
        return 0
    found = examine(scratch.decoder, data)
    if stage == 1:
        return 1
    window, height, width = crop_geometry(rule, found.height, found.width)
    down, across = filters(found.height, found.width, window, False, height, width)
    (top, bottom), (left, right) = reach(down), reach(across)
    box = (bottom - 1, right - 1, bottom, right) if stage == 2 else (top, left, bottom, right)
    if not decode_box(scratch.decoder, found, data, box, True) or stage < 4:
        return stage
    resized = pixels_in(scratch.resized, height, width)
    image = pixels_in(scratch.image, found.height, found.width)
    apply(image, down, across, resized, planes_of(scratch.decoder, found))
    if stage == 4:
        return 4
    planes = planes_in(scratch.samples, scratch.decoder.space.row, height, width, scratch.encoder.halved)
    encode(scratch.encoder, resized, scratch.clean, scratch.payload, planes)
    if stage == 5:
        return 5
    paint(planes, pixels_in(scratch.stored, height, width))
    return 6


def prepared(
    scratch: TranscodeScratch, photographs: list[np.ndarray], rule: Rule
) -> tuple[TranscodeScratch, list[np.ndarray]]:
    """The desk with room for all photographs, and those that our own decoder takes."""
    taken = []
    for data in photographs:
        made = transcode(scratch, data, NO_IMAGE, rule, True)
        if made.state == NO_ROOM:
            scratch = with_room(scratch, made)
            made = transcode(scratch, data, NO_IMAGE, rule, True)
        if made.state == OK and examine(scratch.decoder, data).own:
            taken.append(data)
    return scratch, taken


def decoded(data: np.ndarray) -> np.ndarray:
    """By libjpeg-turbo, uint8 [H, W, 3]."""
    _, height, width = jpeg_size(data)
    image = np.empty((height, width, 3), np.uint8)
    decompress(data, image)
    return image


def main(config: BenchConfig) -> None:
    """Prints the stages and records them."""
    rule = Resize.parse("paper").rule
    paths = sorted(path for path in config.source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    photographs = [np.fromfile(path, np.uint8) for path in paths]
    scratch, photographs = prepared(new_scratch(Coding(90, huffman=config.huffman).encoder()), photographs, rule)
    square = pixels_in(scratch.stored, rule.side, rule.side)
    moments, sums = Moments(), PixelSums()
    work: dict[str, Callable[[np.ndarray], Any]] = {
        name: partial(up_to, scratch, rule, stage) for stage, name in enumerate(STAGES)
    }
    work["statistics"] = lambda data: [each.add(square) for each in (moments, sums)]
    work["libjpeg-turbo, decoding"] = decoded
    work["libjpeg-turbo, encoding"] = lambda data: cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, 90])
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(config.passes + 1):
        for name, run in work.items():
            start = time.process_time()
            for data in photographs:
                run(data)
            if turn:  # the first one compiles
                times[name].append((time.process_time() - start) / len(photographs) * 1e6)
    before = 0.0
    for name, values in times.items():
        least, middle = min(values), median(values)
        added = middle - before if name in STAGES else middle
        before = middle if name in STAGES else before
        print(f"{name:24} {least:7.1f} {middle:7.1f} {max(values):7.1f} us, of its own {added:7.1f}")
        record("shrink", name, {"cpu_microseconds": values, "own": added, "huffman": config.huffman})


if __name__ == "__main__":
    main(tyro.cli(BenchConfig, description=__doc__))
