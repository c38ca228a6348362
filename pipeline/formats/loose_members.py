"""Members of a tar that WebDataset's grouping would not take as they are, made into ones that it does.

A README or a table among the samples is left out. Dots in names that belong to the name and not to the suffix
(`img.0001.jpg`) stay in the key as strokes below; an image whose suffix has two parts (`000.input.jpg`) is the image of
its sample where it is the only one, or the one that was asked for. The bytes of the members stay where they are.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np

from imagefeed.pipeline.formats.tar import Members

MAGICS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF")
RARE = ("jfif", "jpe", "avif", "jp2", "heic", "heif")  # suffixes of images that webdataset does not list


class Part(NamedTuple):
    """A member by its name."""

    member: int
    folder: str  # with its stroke
    stem: str  # to the first dot
    suffix: str  # behind it, in small letters

    @property
    def key(self) -> str:
        """What the members of a sample share."""
        return self.folder + self.stem

    @property
    def last(self) -> str:
        """The suffix behind the last dot."""
        return self.suffix.rpartition(".")[2]

    @property
    def long_stem(self) -> str:
        """All before the last dot, with strokes below for dots."""
        return f"{self.stem}.{self.suffix}".rpartition(".")[0].replace(".", "_")


def regrouped(members: Members, images: tuple[str, ...], wanted: str | None) -> tuple[Members, np.ndarray]:
    """Members whose names group as they are meant, and which of `members` each is (int64 [m]).

    `images` are the suffixes of images, `wanted` is that of the images that were asked for. What can be meant in
    several ways keeps its name, for the grouping to refuse.
    """
    parts = (part_of(member, members.name(member)) for member in range(len(members.ends)))
    there = [part for part in parts if part is not None]
    known = (*images, *RARE)
    with_image = {part.key for part in there if part.suffix == wanted or part.last in known}
    seen = looks_like_image(members.heads)
    chosen: list[tuple[int, str]] = []
    for key, run in groupby(there, lambda part: part.key):
        sample = list(run)
        whole = key in with_image or any(seen[part.member] for part in sample)
        chosen += sample_of(sample, known, wanted, whole)
    order = np.array([member for member, _ in chosen], np.int64)
    names = [name.encode("utf-8", "surrogateescape") for _, name in chosen]
    return (
        Members(
            text=np.frombuffer(b"".join(names), np.uint8),
            ends=np.cumsum([len(name) for name in names]).astype(np.int64),
            offsets=members.offsets[order],
            sizes=members.sizes[order],
            heads=members.heads[order],
        ),
        order,
    )


def part_of(member: int, name: str) -> Part | None:
    """A member's parts; None for what no reader takes: without a suffix, hidden, or `__meta__`."""
    folder, stroke, base = name.rpartition("/")
    stem, dot, suffix = base.partition(".")
    if not dot or not stem or name.startswith("__"):
        return None
    return Part(member, folder + stroke, stem, suffix.lower())


def looks_like_image(heads: np.ndarray) -> np.ndarray:
    """Which members (bool [n]) begin (uint8 [n, HEAD]) as JPEG, PNG or WebP files do."""
    return np.array([bytes(head).startswith(MAGICS) for head in heads[:, :4]], bool)


def sample_of(run: list[Part], images: tuple[str, ...], wanted: str | None, whole: bool) -> Iterator[tuple[int, str]]:
    """Members of one key, in new order and with the names that make samples of them; nothing where they are none,
    unless they are `whole`: an image is among them all the same, or elsewhere under this key.
    """
    found = [part for part in run if part.last in images]
    if wanted is not None:
        found = [part for part in run if part.suffix == wanted]
    exact = [part for part in found if "." not in part.suffix]
    labelled = any(part.suffix in ("cls", "json") for part in run)
    if not found:
        if whole or any(part.last == "cls" for part in run):
            yield from ((part.member, f"{part.key}.{part.suffix}") for part in run)
    elif len(found) == 1 and (exact or labelled or wanted is not None):
        image = found[0]
        yield image.member, f"{image.key}.jpg"
        yield from ((part.member, f"{part.key}.{part.suffix}") for part in run if part.last not in images)
    elif exact or labelled:
        kept = exact or found
        yield from ((part.member, f"{part.key}.jpg") for part in kept)  # several: refused, unless one is exact
        yield from ((part.member, f"{part.key}.{part.suffix}") for part in run if part.last not in images)
    else:
        for stem in dict.fromkeys(part.long_stem for part in found):
            for part in run:
                if part.long_stem == stem and part.suffix != part.last:
                    yield part.member, f"{part.folder}{stem}.{'jpg' if part in found else part.last}"
