"""A headless Chromium that does what a user does: opens a page, chooses a file, looks."""

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.pages import browser


class Browser:
    """One page, asked by the DevTools protocol over a pair of pipes. Collects whatever the browser complains of."""

    def __init__(self, asking: int, answering: int) -> None:
        self._asking, self._answering = asking, answering
        self._number, self._held, self._session = 0, b"", ""
        self.complaints: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one command. Fails where the browser refuses it."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._asking, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._held:
                more = os.read(self._answering, 1 << 20)
                assert more, "the browser has ended"
                self._held += more
            line, _, self._held = self._held.partition(b"\0")
            answer = json.loads(line)
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
                self.complaints.append(json.dumps(answer["params"]))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def value(self, expression: str) -> Any:
        """What an expression, or its promise, comes to in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Returns once a condition holds in the page; fails after half a minute."""
        asked = f"new Promise((yes, no) => {{ let turns = 0; const timer = setInterval(() => {{ \
            if ({condition}) {{ clearInterval(timer); yes(true); }} else if (++turns > 600) no('never'); }}, 50); }})"
        assert self.value(asked)

    def open(self, url: str) -> None:
        """Opens a page, and returns once it is complete."""
        self.ask("Page.navigate", url=url)
        self.wait_for(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def choose(self, selector: str, file: Path) -> None:
        """Chooses a file in an `<input type=file>`."""
        root = self.ask("DOM.getDocument")["root"]["nodeId"]
        node = self.ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.ask("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def look(self, picture: Path, *, width: int, height: int, dark: bool = False) -> None:
        """A picture of the page in a window of `width` pixels."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.ask("Emulation.setEmulatedMedia", features=scheme)
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        picture.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own, which ends with the block. Skips the test where there is none."""
    commands, answers = os.pipe(), os.pipe()
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", *quiet]
    shell = f'exec "$@" 3<&{commands[0]} 4>&{answers[1]}'  # the two descriptors that it asks of
    with subprocess.Popen(
        ["bash", "-c", shell, "bash", *command, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(commands[0], answers[1]),
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(commands[0])
        os.close(answers[1])
        try:
            yield Browser(commands[1], answers[0])
        finally:
            process.kill()
            os.close(commands[1])
            os.close(answers[0])
