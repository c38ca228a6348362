"""The figures of the paper that ours stand beside.

Krizhevsky, Sutskever, Hinton 2012: tables 1 and 2, and the footnote to table 1. Without further training data. Errors
are fractions, 0 to 1.
"""

import re
from collections.abc import Sequence
from typing import Any

from imagefeed.pipeline.dataset.manifest import Class

PAPER: dict[str, list[dict[str, Any]]] = {
    "centre": [{"nets": "one net", "where": "ILSVRC-2010 test", "top1": 0.390, "top5": 0.183}],
    "ten-crop": [
        {"nets": "one net", "where": "ILSVRC-2012 validation", "top1": 0.407, "top5": 0.182},
        {"nets": "one net", "where": "ILSVRC-2010 test", "top1": 0.375, "top5": 0.170},
    ],
    "ensemble": [{"nets": "five nets", "where": "ILSVRC-2012 validation", "top1": 0.381, "top5": 0.164}],
}


def beside(protocol: str, *, ensemble: bool) -> list[dict[str, Any]]:
    """The paper's figures for a net by a protocol, or for an ensemble; none where it has none."""
    if ensemble:
        return PAPER["ensemble"] if protocol == "ten-crop" else []
    return PAPER.get(protocol, [])


def is_ilsvrc(classes: Sequence[Class]) -> bool:
    """Whether these look like ILSVRC's 1000 synsets, so that the paper's figures may stand beside ours."""
    return len(classes) == 1000 and all(re.fullmatch(r"n\d{8}", each.wnid) for each in classes)
