"""What `--resize` means: the part of an image that is kept, and how large it becomes.

    paper      the shorter side to 256 pixels, enlarged if need be, and of that the central 256x256
    short:N    the whole image, its shorter side reduced to N pixels; a smaller one keeps its size
    long:N     the whole image, its longer side reduced to N pixels; a smaller one keeps its size
    none       the image file as it is: nothing is decoded or encoded

Nothing but "paper" enlarges: a loader that wants more pixels makes them itself, at no cost on disk.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from imagefeed.pipeline.jit.njit import njit

PAPER_SIDE = 256  # pixels
LONGEST_SIDE = 65_535  # pixels that a JPEG, and a beton, can have
KINDS = "paper", "short", "long", "none"
PAPER, SHORT, LONG, NONE = range(len(KINDS))


class Rule(NamedTuple):
    """A resize as compiled code knows it."""

    kind: int  # a place in `KINDS`
    side: int  # pixels; 0 for "none"


@njit
def crop_geometry(rule: Rule, height: int, width: int) -> tuple[np.ndarray, int, int]:
    """What becomes of an image of this size: the window that is kept and the size that it gets.

    The window is (top, left, height, width) in pixels, float64 [4], perhaps with halves.
    """
    if rule.kind == PAPER:
        side = min(height, width)
        return np.array([(height - side) / 2, (width - side) / 2, side, side]), rule.side, rule.side
    measure = max(height, width) if rule.kind == LONG else min(height, width)
    scale = min(1.0, rule.side / measure)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    return np.array([0.0, 0.0, height, width]), rows, columns


@dataclass(frozen=True)
class Resize:
    """A resize as it was asked for; `parse` makes it from its text."""

    kind: Literal["paper", "short", "long", "none"]
    side: int  # pixels; 0 for "none"

    @staticmethod
    def parse(text: str) -> "Resize":
        """From `paper`, `short:N`, `long:N` or `none`. Raises `ValueError` for anything else."""
        if text == "paper":
            return Resize("paper", PAPER_SIDE)
        if text == "none":
            return Resize("none", 0)
        kind, _, number = text.partition(":")
        if kind in ("short", "long") and number.isdecimal() and 1 <= int(number) <= LONGEST_SIDE:
            return Resize("short" if kind == "short" else "long", int(number))
        raise ValueError(
            f"resize {text!r}: choose paper, none, short:N or long:N, where N is 1 to {LONGEST_SIDE} pixels"
        )

    @property
    def rule(self) -> Rule:
        """The same for compiled code."""
        return Rule(KINDS.index(self.kind), self.side)
