"""Servers on loopback for the tests of remote data: one of http that can be made to fail, and moto's S3."""

import http.server
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote

Fault = Callable[[str, int], str | None]  # (file, how many requests for it came before) -> what goes wrong


def always(fault: str, file: str = "shard-00001.tar") -> Fault:
    return lambda name, number: fault if name == file else None


def at_first(fault: str, times: int, file: str = "shard-00001.tar") -> Fault:
    return lambda name, number: fault if name == file and number < times else None


class FileServer(http.server.ThreadingHTTPServer):
    """The files of a folder, with ranges. `fault` is asked at each GET; "drop", "stall", "short", "wrong", "whole" or
    a status."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.fault: Fault = lambda name, number: None
        self.requests: Counter[str] = Counter()  # GETs by file
        self.num_sent: Counter[str] = Counter()  # bytes by file
        self.guard = threading.Lock()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FileServer

    def do_HEAD(self) -> None:
        path = self.server.folder / unquote(self.path.lstrip("/"))
        self.send_response(200 if path.is_file() else 404)
        self.send_header("Content-Length", str(path.stat().st_size if path.is_file() else 0))
        self.end_headers()

    def do_GET(self) -> None:
        path = self.server.folder / unquote(self.path.lstrip("/"))
        with self.server.guard:
            fault = self.server.fault(path.name, self.server.requests[path.name])
            self.server.requests[path.name] += 1
        status = 200 if path.is_file() else 404
        content = path.read_bytes() if path.is_file() else b""
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked and fault != "whole" and status == 200:
            status, content = 206, content[int(asked[1]) : int(asked[2]) + 1]
        if fault is not None and fault.isdigit():
            status, content = int(fault), b""
        if fault == "short":
            content = content[: len(content) // 2]
        if fault == "wrong":
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with self.server.guard:
            self.server.num_sent[path.name] += len(content)
        if fault in ("drop", "stall"):
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            if fault == "stall":
                self.server.closing.wait()
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client has gone
            self.close_connection = True

    def finish(self) -> None:
        with suppress(OSError, ValueError):  # it is closed already
            super().finish()


@contextmanager
def file_server(folder: Path) -> Iterator[FileServer]:
    with FileServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
