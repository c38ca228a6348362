"""The page of an audit: every image stands in its group, leaks first, and no name of a file is more than text."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from imagefeed.jobs.report.audit_page import MOST_OF_A_GROUP, MOST_SHOWN, AuditInputs, render_audit, sections
from imagefeed.jobs.report.pictures import thumbnail
from imagefeed.pipeline.checks.audit import SCHEMA
from imagefeed.pipeline.checks.audit_results import summary
from tests.support.chromium import chromium
from tests.support.pages import Page, image_of

HOSTILE = '</figcaption><script>alert("x")</script>'


def row(kind: str, number: int, group: int = -1, **more: Any) -> dict[str, Any]:
    """A doubt about sample `number`."""
    plain = {"kind": kind, "group": group, "id": number, "key": f"key-{number}", "split": "train", "class": "ant"}
    rest = {"across": False, "labels_differ": False, "distance": 0, "height": 30, "width": 90}
    return plain | rest | {"file": "a.tar", "offset": 0, "size": 1, "reason": ""} | more


def picture_of(split: str, number: int) -> np.ndarray | None:
    """A colour of its own for each; 99 does not decode."""
    shade = [number % 256, 60 + number % 150, 200 if split == "val" else 20]
    return None if number == 99 else np.full((30, 90, 3), shade, np.uint8)


ROWS = [
    row("identical", 1, 0),
    row("identical", 2, 0),
    row("identical", 3, 1, labels_differ=True),
    row("identical", 4, 1, labels_differ=True, **{"class": "bee"}),
    row("identical", 5, 2, across=True),
    row("identical", 6, 2, across=True, split="val"),
    row("near", 7, 0),
    row("near", 8, 0, distance=3),
    row("extreme", 9, key=HOSTILE),
    row("unusable", 99, reason="truncated <b>"),
]


def page_of(rows: list[dict[str, Any]]) -> str:
    doubts = pa.Table.from_pylist(rows, SCHEMA)
    num_images = {"train": 12345, "val": 50}
    return render_audit(
        AuditInputs(
            name="a <source>", num_images=num_images, counts=summary(doubts), doubts=doubts, image_of=picture_of
        )
    )


def test_leaks_come_first_then_groups_of_several_classes() -> None:
    found = sections(pa.Table.from_pylist(ROWS, SCHEMA))
    assert [(each.kind, [[row["id"] for row in group] for group in each.groups]) for each in found] == [
        ("identical", [[5, 6], [3, 4], [1, 2]]),
        ("near", [[7, 8]]),
        ("extreme", [[9]]),
        ("unusable", [[99]]),
    ]
    assert [each.has_groups for each in found] == [True, True, False, False]


def test_the_page_shows_each_image_with_what_it_is_and_the_counts() -> None:
    page = Page(page_of(ROWS))
    assert "12 345 images in train, 50 images in val. Nothing was changed" in page.words
    assert "identical 6 3 1 1 near 2 1 0 0 small 0 0 0 0 extreme 1 0 0 0 flat 0 0 0 0 unusable 1 0 0 0" in page.words
    assert "train 5 key-5 ant, 30 \u00d7 90 val 6 key-6 ant, 30 \u00d7 90 train 3 key-3 ant, 30 \u00d7 90" in page.words
    assert "train 8 3 bits key-8" in page.words and "truncated <b>" in page.text
    assert len(page.of("s")) == 2, "those that reach over splits are marked"
    shown = {str(each["alt"]).partition(":")[0]: image_of(each["src"]) for each in page.of("img")}
    assert len(shown) == len(ROWS) - 1
    for each in ROWS[:-1]:
        image = picture_of(each["split"], each["id"])
        assert image is not None
        assert np.abs(shown[each["key"]].astype(int) - thumbnail(image, 150)).max() < 8, "another image"


def test_of_many_the_first_are_shown_and_the_page_says_so() -> None:
    rows = [row("identical", 100 * group + i, group) for group in range(MOST_SHOWN + 3) for i in range(10)]
    rows += [row("flat", i) for i in range(MOST_SHOWN + 1)]
    page = Page(page_of(rows))
    assert "The first 40 of 43 groups." in page.words and "The first 40 of 41." in page.words
    assert len(page.of("img")) == MOST_SHOWN * MOST_OF_A_GROUP + MOST_SHOWN


def test_the_page_stands_alone_runs_nothing_and_names_are_text() -> None:
    page = Page(page_of(ROWS))
    (policy,) = (meta["content"] for meta in page.of("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'none'"
    assert not page.of("script") and not page.of("link")
    assert HOSTILE in page.text and "a <source>" in page.text
    targets = {each["href"] for each in page.of("a")}
    assert (
        targets == {"#" + str(each["id"]) for each in page.of("h2")} == {"#identical", "#near", "#extreme", "#unusable"}
    )
    assert page_of(ROWS) == page_of(ROWS)
    assert "Nothing was changed" in Page(page_of([])).words, "no doubts, and still a page"


def test_a_browser_draws_it_wide_and_narrow_without_complaint(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page_of(ROWS))
    with chromium(tmp_path / "profile") as page:
        page.open((tmp_path / "page.html").as_uri())
        assert page.value("[...document.images].every((each) => each.complete && each.naturalWidth > 0)")
        for width in (390, 1000):
            page.look(tmp_path / "page.png", width=width, height=900, dark=width == 390)
            assert page.value("document.documentElement.scrollWidth <= innerWidth"), "nothing to scroll sideways"
            drawn = np.asarray(Image.open(tmp_path / "page.png").convert("RGB"))
            assert (drawn[2, 2].mean() < 80) == (width == 390), "dark where that is wished"
        assert page.complaints == []
