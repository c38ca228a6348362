"""Pages as tests look at them: their elements and their text, and what a real browser makes of them."""

import base64
import html
import io
import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


class Page(HTMLParser):
    """What a page holds: its tags with their attributes, its text, its scripts, and whether each element was closed in
    order."""

    VOID = frozenset({"meta", "img", "br", "path", "use", "rect", "line", "circle", "polyline"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += " "  # two elements are two words
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside == "script":
            self.scripts.append(data)
        elif inside != "style":
            self.text += data

    @property
    def words(self) -> str:
        """The text with a plain space between two words."""
        return " ".join(self.text.split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def styles(self, kind: str) -> list[str | None]:
        """How the `<span>`s of a class are drawn: their bars, their places on a scale."""
        return [each.get("style") for each in self.of("span") if each.get("class") == kind]


def image_of(url: str | None) -> np.ndarray:
    assert url is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition("base64,")[2]))))


def browser() -> str:
    """Chromium, by its path. Skips the test where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    return path


def browse(folder: Path, page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Opens a page without a screen, in a profile of its own below `folder` and with nothing to report home."""
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", *quiet, profile, "--enable-logging=stderr"]
    return subprocess.run([*command, *options, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)


DARK, LIGHT = ("--blink-settings=preferredColorScheme=0",), ("--blink-settings=preferredColorScheme=1",)

ASK = Path(__file__).with_name("ask_page.js").read_text()


def seen(folder: Path, page: str, *, widths: tuple[int, ...], options: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What a browser makes of a page in windows of some widths, pixels: an entry each, as `ask_page.js` fills it.

    Fails where the browser had anything to complain of. The page's own policy forbids all that is not in it, so a
    page that asked for something else would be complained of.
    """
    frames = "".join(f'<iframe width="{width}" height="900" srcdoc="{html.escape(page)}"></iframe>' for width in widths)
    harness = folder / "harness.html"
    harness.write_text(f'<!doctype html><meta charset="utf-8">{frames}<p id="answer"></p><script>{ASK}</script>')
    opened = browse(folder, harness, "--dump-dom", "--hide-scrollbars", "--virtual-time-budget=20000", *options)
    assert "CONSOLE" not in opened.stderr, opened.stderr
    answer = opened.stdout.partition('<p id="answer">')[2].partition("</p>")[0]
    assert answer, "a chart was not drawn"
    return list(json.loads(html.unescape(answer)))
