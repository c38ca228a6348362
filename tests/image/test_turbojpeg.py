"""Without libturbojpeg everything reads and writes as with it: the same shards, the same pixels, the same kernels."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import encoded, picture
from tests.project.structure import ROOT

REMARK = "libturbojpeg was not found: Pillow decodes some of the images, more slowly; install libturbojpeg"
Outcome = tuple[dict[str, object], str]


def draw(folder: Path) -> None:
    """Baseline, progressive, grey and CMYK JPEGs, some narrow ones, a PNG, and two that are damaged."""
    folder.mkdir(parents=True)
    rgb, grey = picture(1, 90, 120), picture(2, 70, 80)[:, :, 0]
    whole = encoded(rgb, quality=90)
    files = {
        "baseline.jpg": whole,
        "fine.jpg": encoded(picture(3, 300, 280), quality=95, subsampling="4:4:4"),
        "half.jpg": encoded(picture(4, 64, 100), quality=90, subsampling="4:2:2"),
        "progressive.jpg": encoded(rgb, quality=85, progressive=True),
        "grey.jpg": encoded(grey, quality=90),
        "grey_progressive.jpg": encoded(grey, quality=90, progressive=True),
        "cmyk.jpg": encoded(picture(5, 80, 60).repeat(2, 2)[:, :, :4].copy(), mode="CMYK", quality=90),
        "narrow.jpg": encoded(picture(6, 100, 3), quality=90),
        "restarts.jpg": encoded(picture(7, 80, 90), quality=90, restart_marker_blocks=3),
        "image.png": encoded(picture(8, 50, 60), "PNG"),
        "cut_short.jpg": whole[: len(whole) // 2],
        "extraneous.jpg": whole[:-2] + b"\x55\x55\x55" + whole[-2:],  # libjpeg-turbo warns of it
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """What `without_turbojpeg` prints, all with the same cache of kernels: found, hidden and found once more."""
    root = tmp_path_factory.mktemp("turbojpeg")
    for name in ("ant", "bee"):
        draw(root / "images" / "train" / name)
    outcomes = {}
    for name, how in {"found": "found", "hidden": "hidden", "again": "found"}.items():
        command = [sys.executable, "-m", "tests.support.without_turbojpeg", how, str(root / "images"), str(root / name)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        outcomes[name] = json.loads(done.stdout), done.stderr
    return outcomes


def test_the_library_was_hidden(outcomes: dict[str, Outcome]) -> None:
    assert [outcome["found"] for outcome, _ in outcomes.values()] == [True, False, True]


@pytest.mark.parametrize("what", ["paper", "long", "none", "headers"])
def test_shards_and_pixels_are_the_same(outcomes: dict[str, Outcome], what: str) -> None:
    pixels = f"pixels of {'paper/tar' if what == 'paper' else what}"  # "headers" holds two that do not decode
    for name in ("hidden", "again"):
        assert outcomes[name][0][what] == outcomes["found"][0][what]
        assert outcomes[name][0].get(pixels) == outcomes["found"][0].get(pixels)
        assert outcomes[name][0]["verified"] == outcomes["found"][0]["verified"]


def test_compiled_kernels_serve_both(outcomes: dict[str, Outcome]) -> None:
    assert [outcomes[name][0]["kernels from disk"] for name in ("hidden", "again")] == [1, 1]


def test_it_is_said_once(outcomes: dict[str, Outcome]) -> None:
    assert [error.count(REMARK) for _, error in outcomes.values()] == [0, 1, 0]


def test_the_decoder_is_refused_by_its_name(outcomes: dict[str, Outcome]) -> None:
    refused = [outcome.get("refused") for outcome, _ in outcomes.values()]
    assert refused[0] is refused[2] is None
    assert "decoder 'turbojpeg' is not on this machine: install libturbojpeg (Debian" in str(refused[1])
