"""Planted duplicates and odd images are found, all of them and nothing else; the lookup misses no pair."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imagefeed.pipeline.checks.audit import AuditOptions, audit
from imagefeed.pipeline.checks.audit_results import TABLE, image_of, summary, write_table
from imagefeed.pipeline.checks.dhash import MOST_DIFFERENT, group_near
from imagefeed.pipeline.runtime.executors import processes
from imagefeed.pipeline.sources.open_source import open_source
from tests.conftest import encoded, picture


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty distinct images in two splits, and beside them each kind of doubt once or twice."""
    root = tmp_path_factory.mktemp("planted")
    for number in range(40):
        write(root, f"{'val' if number % 4 == 0 else 'train'}/{'ant' if number % 2 else 'bee'}/{number:02d}.jpg",
              encoded(picture(number, 300, 400), quality=92))  # fmt: skip
    write(root, "val/ant/leak.jpg", (root / "train/ant/01.jpg").read_bytes())  # the same bytes
    write(root, "train/bee/again.jpg", (root / "train/ant/03.jpg").read_bytes())  # under another class
    smaller = Image.fromarray(picture(5, 300, 400)).resize((500, 375), Image.Resampling.LANCZOS)
    write(root, "val/bee/alike.jpg", encoded(np.asarray(smaller), quality=60))
    write(root, "train/ant/small.jpg", encoded(picture(50, 100, 120), quality=92))
    write(root, "train/ant/long.jpg", encoded(picture(51, 260, 900), quality=92))
    for number in range(2):
        grey = np.full((300, 300, 3), 90 + 50 * number, np.uint8)
        write(root, f"train/ant/flat{number}.png", encoded(grey, "PNG"))
    write(root, "train/ant/cut.jpg", encoded(picture(52, 300, 300))[:2000])
    return root


def write(root: Path, name: str, data: bytes) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(data)


def test_what_was_planted_is_found_and_nothing_else(planted: Path) -> None:
    doubts = audit(open_source(str(planted)))
    found: dict[str, list] = {}
    for row in doubts.to_pylist():
        found.setdefault(row["kind"], []).append((f"{row['split']}/{row['key']}", row["across"], row["labels_differ"]))
    assert found == {
        "identical": [
            ("train/ant/01", True, False),
            ("val/ant/leak", True, False),
            ("train/ant/03", False, True),
            ("train/bee/again", False, True),
        ],
        "near": [("train/ant/05", True, True), ("val/bee/alike", True, True)],
        "small": [("train/ant/small", False, False)],
        "extreme": [("train/ant/long", False, False)],
        "flat": [("train/ant/flat0", False, False), ("train/ant/flat1", False, False)],
        "unusable": [("train/ant/cut", False, False)],
    }
    near = doubts.filter(pc.equal(doubts["kind"], "near"))["distance"].to_pylist()
    assert near[0] == 0 and near[1] <= 4
    assert "truncated" in doubts["reason"].to_pylist()[-1]


def test_any_number_of_workers_finds_the_same(planted: Path) -> None:
    source = open_source(str(planted))
    assert audit(source, run=processes(2)).equals(audit(source))


def test_the_limits_are_the_users(planted: Path) -> None:
    options = AuditOptions(near=0, smaller_than=50, longer_than=10)
    kinds = set(audit(open_source(str(planted)), options)["kind"].to_pylist())
    assert not kinds & {"small", "extreme"}
    with pytest.raises(ValueError, match="choose 0 to 7 bits"):
        AuditOptions(near=8)


def test_the_table_has_every_doubt_and_nothing_is_changed(planted: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in planted.rglob("*.*")}
    source = open_source(str(planted))
    doubts = audit(source)
    write_table(doubts, tmp_path / "out")
    assert pq.read_table(tmp_path / "out" / TABLE).equals(doubts)
    assert len(doubts) == 11
    images = {row["key"]: image_of(source, row["split"], row["id"]) for row in doubts.to_pylist()}
    assert [key for key, image in images.items() if image is None] == ["ant/cut"]
    for row in doubts.to_pylist():
        if (image := images[row["key"]]) is not None:
            assert image.shape == (row["height"], row["width"], 3)
            decoded = np.asarray(Image.open(planted / row["file"]).convert("RGB"))
            np.testing.assert_array_equal(image, decoded)
    assert summary(doubts)[:2] == [("identical", 4, 2, 1, 1), ("near", 2, 1, 1, 1)]
    assert {path: path.read_bytes() for path in planted.rglob("*.*")} == before


def groups_twin(hashes: np.ndarray, most: int) -> list[int]:
    """All pairs, and the lowest member that each can reach."""
    bits = np.unpackbits(hashes.view(np.uint8).reshape(len(hashes), 16), axis=1).astype(int)
    near = (bits[:, None] != bits[None]).sum(axis=2) <= most
    first = np.arange(len(hashes))
    for _ in range(len(hashes)):
        first = np.array([first[row].min() for row in near])
    return first.tolist()


@given(seed=st.integers(0, 2**32 - 1), most=st.integers(0, MOST_DIFFERENT))
def test_the_lookup_misses_no_pair(seed: int, most: int) -> None:
    """Also those whose different bits are spread over as many bands as can be."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (6, 128), np.uint8).repeat(5, axis=0)
    for row in bits:
        bands = rng.permutation(8)[: rng.integers(0, MOST_DIFFERENT + 2)]
        row[16 * bands + rng.integers(0, 16, len(bands))] ^= 1
    hashes = np.packbits(bits, axis=1).view(np.uint64).reshape(-1, 2)
    assert group_near(np.ascontiguousarray(hashes), most).tolist() == groups_twin(hashes, most)
