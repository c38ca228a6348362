"""The page of `imagefeed predict --serve`, served by the real server: it answers, and refuses what it should."""

import http.client
import io
import json
import re
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imagefeed.jobs.report.pictures import response_picture
from imagefeed.jobs.serving.neighbourhood import Neighbourhood, open_neighbourhood
from imagefeed.jobs.serving.predictor import Predictor, open_predictor
from imagefeed.jobs.serving.server import HOST, MOST_BYTES, MOST_SCANS, application, bound, server_of
from imagefeed.pipeline.loader.dataset import open_dataset
from tests.conftest import encoded, picture
from tests.support.chromium import chromium
from tests.support.pages import image_of


@pytest.fixture(scope="module")
def predictor(checkpoint: Path, shards: Path) -> Predictor:
    return open_predictor([checkpoint], data=shards / "tar", protocol="ten-crop")


@pytest.fixture(scope="module")
def features_file(predictor: Predictor, shards: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The validation images' features, as an evaluation writes them."""
    samples = open_dataset(shards / "tar" / "val").samples.select(["id", "key", "label"])
    rows = []
    for key in samples["key"].to_pylist():
        (file,) = (images / "val").glob(f"{key}.*")
        rows.append(predictor.inside(predictor.prepare(file.read_bytes())).features)
    values = pa.array(np.concatenate(rows))
    path = tmp_path_factory.mktemp("features") / "predictions.parquet"
    pq.write_table(samples.append_column("features", pa.FixedSizeListArray.from_arrays(values, len(rows[0]))), path)
    return path


@pytest.fixture(scope="module")
def neighbourhood(predictor: Predictor, features_file: Path, shards: Path) -> Neighbourhood:
    units = predictor.nets[0].fc8.in_features
    return open_neighbourhood(features_file, shards / "tar" / "val", units, predictor.classes)


@pytest.fixture(scope="module")
def port(predictor: Predictor, neighbourhood: Neighbourhood) -> Iterator[int]:
    """Of a server in a thread of this process."""
    server = server_of(application(predictor, predictor.about, neighbourhood))
    with bound(0) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def ask(port: int, data: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    """Status and answer to an upload."""
    connection = http.client.HTTPConnection(HOST, port, timeout=300)
    connection.request("POST", "/predict", data, headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, json.loads(content) if content[:1] == b"{" else {"text": content.decode()}


def test_an_upload_is_answered_as_the_command_answers(port: int, predictor: Predictor, images: Path) -> None:
    data = (images / "val" / "bee" / "000.jpg").read_bytes()
    status, answer = ask(port, data)
    (guesses,) = predictor.predict([predictor.prepare(data)])
    assert status == 200
    assert [guess["wnid"] for guess in answer["top"]] == [guess.wnid for guess in guesses]
    assert [guess["probability"] for guess in answer["top"]] == pytest.approx([guess.probability for guess in guesses])
    seen = image_of(answer["seen"]).astype(int)
    assert np.abs(seen - predictor.prepare(data).pixels).mean() < 3
    assert answer["num_maps"] == 24 and image_of(answer["response"]).shape == (2 * 112, 2 * (12 * 57 - 2), 4)


def test_an_image_is_its_own_nearest_and_the_others_follow_by_distance(
    port: int, features_file: Path, images: Path
) -> None:
    table = pq.read_table(features_file)
    features = np.array(table["features"].to_pylist())
    (row,) = (i for i, key in enumerate(table["key"].to_pylist()) if key == "cat/001")
    _, answer = ask(port, (images / "val" / "cat" / "001.jpg").read_bytes())
    order = np.argsort(np.linalg.norm(features - features[row], axis=1), kind="stable")[:6]
    assert [near["key"] for near in answer["neighbours"]] == [table["key"][int(i)].as_py() for i in order]
    assert answer["neighbours"][0]["key"] == "cat/001"
    assert answer["neighbours"][0]["distance"] == pytest.approx(0, abs=1e-3)
    assert image_of(answer["neighbours"][0]["picture"]).shape == (128, 128, 3)


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises many pixels in a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    size = width.to_bytes(4) + height.to_bytes(4)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + b"\x08\x02\0\0\0") + pixels + chunk(b"IEND", b"")


def progressive(scans: int) -> bytes:
    """A JPEG with a last scan that comes again and again."""
    data = encoded(picture(1, 64, 64), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + b"\xff\xd9"


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HOSTILE = {
    "nothing": (b"", 422, "empty"),
    "a picture that is a program": (SVG, 415, "no image"),
    "a page": (b"<!doctype html><script>alert(1)</script>", 415, "no image"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nquit\n", 415, "no image"),
    "a TIFF": (encoded(picture(1, 9, 9), "TIFF"), 415, "no image"),
    "a bomb": (png_header(30_000, 30_000), 422, "more than the 40 million"),
    "a smaller bomb": (png_header(8_000, 8_000), 422, "8,000 x 8,000 pixels, more than the 40 million"),
    "a cut JPEG": (encoded(picture(1, 300, 300))[:2000], 422, "truncated"),
    "a PNG that lacks its pixels": (png_header(300, 300), 422, "cannot be used"),
    "endless scans": (progressive(MOST_SCANS), 422, "scans"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files_are_refused_and_the_next_one_is_answered(what: str, port: int) -> None:
    data, status, why = HOSTILE[what]
    found, answer = ask(port, data)
    assert found == status and why in answer["error"]
    assert "/" not in answer["error"].replace("://", ""), "no path of this machine"
    assert ask(port, encoded(picture(2, 90, 90), "PNG"))[0] == 200


def peak() -> int:
    """The most memory that this process had since `clear_refs`, bytes."""
    (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


@pytest.mark.parametrize("announced", [True, False])
def test_a_hundred_megabytes_are_refused_and_not_kept(announced: bool, port: int) -> None:
    chunk, number = bytes(1_000_000), 100
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    with socket.create_connection((HOST, port), timeout=300) as connection:
        length = f"Content-Length: {number * len(chunk)}" if announced else "Transfer-Encoding: chunked"
        connection.sendall(f"POST /predict HTTP/1.1\r\nHost: {HOST}:{port}\r\n{length}\r\n\r\n".encode())
        with suppress(OSError):  # it may close the door
            for _ in range(number):
                connection.sendall(chunk if announced else b"%x\r\n%b\r\n" % (len(chunk), chunk))
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ") and b"larger than 20 MB" in answer
    assert peak() - before < 2.5 * MOST_BYTES  # what came, and at most one growth of the buffer


def test_an_upload_that_takes_its_time_is_ended(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagefeed.jobs.serving.server.UPLOAD_SECONDS", 1.0)
    connection = http.client.HTTPConnection(HOST, port, timeout=300)
    connection.request("POST", "/predict", b"slow", {"Content-Length": "99"})
    response = connection.getresponse()
    assert response.status == 408 and "took longer than 1 seconds" in json.load(response)["error"]
    connection.close()


def test_only_its_own_name_is_answered(port: int) -> None:
    data = encoded(picture(2, 90, 90), "PNG")
    for host in (f"{HOST}:{port}", f"localhost:{port}"):
        assert ask(port, data, Host=host)[0] == 200
        assert ask(port, data, Host=host, Origin=f"http://{host}")[0] == 200
    for host in ("evil.example", f"evil.example:{port}", f"{HOST}.evil.example", "0.0.0.0"):
        assert ask(port, data, Host=host)[0] == 400
    for origin in ("http://evil.example", "null", f"http://{HOST}:{port + 1}", f"https://{HOST}:{port}"):
        status, answer = ask(port, data, Origin=origin)
        assert status == 403 and "another site" in answer["error"]


def test_every_answer_carries_the_policy_and_no_other_path_is_there(port: int) -> None:
    for method, path, status in (
        ("GET", "/", 200),
        ("GET", "/page.css", 200),
        ("GET", "/page.js", 200),
        ("GET", "/predict", 405),
        ("GET", "/../pyproject.toml", 404),
        ("GET", "/docs", 404),
    ):
        connection = http.client.HTTPConnection(HOST, port, timeout=300)
        connection.request(method, path)
        response = connection.getresponse()
        response.read()
        connection.close()
        assert response.status == status, path
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"


def test_it_listens_on_loopback_alone_and_says_when_the_port_is_taken(port: int) -> None:
    with bound(0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"
    with pytest.raises(OSError, match=f"port {port} of .* give another --port"):
        bound(port)


def test_features_that_do_not_fit_are_refused(
    predictor: Predictor, features_file: Path, shards: Path, tmp_path: Path
) -> None:
    units, val = predictor.nets[0].fc8.in_features, shards / "tar" / "val"
    with pytest.raises(FileNotFoundError, match="--features"):
        open_neighbourhood(tmp_path / "none.parquet", val, units, predictor.classes)
    with pytest.raises(ValueError, match="this net 7: give the net's own"):
        open_neighbourhood(features_file, val, 7, predictor.classes)
    pq.write_table(pq.read_table(features_file).drop_columns("features"), tmp_path / "plain.parquet")
    with pytest.raises(ValueError, match="has no features: evaluate with --features"):
        open_neighbourhood(tmp_path / "plain.parquet", val, units, predictor.classes)
    (tmp_path / "cut.parquet").write_bytes(features_file.read_bytes()[:500])
    with pytest.raises(ValueError, match="cannot be read"):
        open_neighbourhood(tmp_path / "cut.parquet", val, units, predictor.classes)
    assert open_neighbourhood(features_file, tmp_path / "gone", units, predictor.classes).split is None


def test_maps_are_stretched_each_on_its_own_and_a_dead_one_is_black() -> None:
    maps = np.random.default_rng(0).random((13, 5, 6)) * np.logspace(-3, 3, 13)[:, None, None]
    maps[3] = 0
    drawn = response_picture(maps)[::2, ::2]
    assert drawn.shape == (5 + 2 + 5, 12 * 8 - 2, 4)
    for i, each in enumerate(maps):
        tile = drawn[7 * (i // 12) :, 8 * (i % 12) :][:5, :6]
        expected = 255 * each / (each.max() or 1)
        assert np.abs(tile[:, :, 0] - expected).max() <= 0.5 + 1e-9
        assert (tile[:, :, 3] == 255).all()
    assert (drawn[:, :, 3] == 255).sum() == 13 * 30, "gaps are clear"


def test_a_browser_shows_what_was_chosen(port: int, images: Path, tmp_path: Path) -> None:
    (tmp_path / "evil.png").write_bytes(SVG)
    with chromium(tmp_path / "profile") as page:
        page.open(f"http://{HOST}:{port}/")
        page.choose("#file", images / "val" / "bee" / "000.jpg")
        page.wait_for("!document.getElementById('result').hidden && document.getElementById('response').complete")
        assert page.value("[...document.images].every((each) => each.naturalWidth > 0)")
        words = "[...document.querySelectorAll('#top span')].map((each) => each.textContent)"
        assert sorted(page.value(words)) == ["ant", "bee", "cat"]
        assert page.value("document.querySelectorAll('#near img').length") == 6
        near = page.value("[...document.querySelectorAll('#near figcaption')].map((each) => each.textContent)")
        assert near[0] == "bee, 0.00" and all(re.fullmatch(r"(ant|bee|cat), \d+\.\d\d", each) for each in near)
        for width in (390, 1280):
            page.look(tmp_path / "page.png", width=width, height=900, dark=width == 390)
            assert page.value("document.documentElement.scrollWidth <= innerWidth"), "nothing to scroll sideways"
            drawn = np.asarray(Image.open(io.BytesIO((tmp_path / "page.png").read_bytes())).convert("RGB"))
            assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 1000
            assert (drawn[2, 2].mean() < 80) == (width == 390), "dark where that is wished"
        assert page.complaints == []
        page.choose("#file", tmp_path / "evil.png")
        page.wait_for("document.getElementById('notice').classList.contains('error')")
        assert "evil.png: this is no image" in page.value("document.getElementById('notice').textContent")
