"""Servers on loopback for the tests of remote data: one of http that can be made to fail, and moto's S3."""

import html
import http.client
import http.server
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, unquote

import fsspec
import pytest

HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}
Fault = Callable[[str, int], str | None]  # (file, how many requests for it came before) -> what goes wrong


def always(fault: str, file: str = "shard-00001.tar") -> Fault:
    return lambda name, number: fault if name == file else None


def at_first(fault: str, times: int, file: str = "shard-00001.tar") -> Fault:
    return lambda name, number: fault if name == file and number < times else None


class FileServer(http.server.ThreadingHTTPServer):
    """The files of a folder, with ranges and a page that lists them, or what the server at `upstream` says, unless
    `fault` or `fault_of_attempt` say otherwise.

    Faults: "drop" (the connection, half-way), "stall" (half-way), "short", "wrong", "whole" (ranges are not known), or
    a status.
    """

    daemon_threads = True

    def __init__(self, folder: Path, upstream: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.upstream = folder, upstream
        self.fault: Fault = lambda name, number: None
        self.fault_of_attempt: Fault = lambda name, number: None  # the same, by how often this very range was asked for
        self.requests: Counter[str] = Counter()  # GETs by file
        self.attempts: Counter[tuple[str, str | None]] = Counter()  # GETs by file and range
        self.num_sent: Counter[str] = Counter()  # bytes by file
        self.guard = threading.Lock()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        """What a server without faults says: status, headers, content."""
        if self.upstream is not None:
            connection = http.client.HTTPConnection(self.upstream)
            connection.request(method, path, headers=dict(headers))
            response = connection.getresponse()
            content = response.read()
            connection.close()
            kept = {name: value for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP}
            return response.status, kept, content
        file = self.folder / unquote(path.lstrip("/"))
        if file.is_dir():
            return 200, {"Content-Type": "text/html"}, listing(file)
        if not file.is_file():
            return 404, {}, b""
        content = file.read_bytes()
        stamp = {"ETag": f'"{file.stat().st_mtime_ns:x}-{len(content):x}"'}  # as nginx makes it
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("Range", ""))
        if asked:
            return 206, stamp, content[int(asked[1]) : int(asked[2]) + 1]
        return 200, {"Content-Length": str(len(content)), **stamp}, content


def listing(folder: Path) -> bytes:
    """A page with a link to each entry, as servers of files make it."""
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    links = (f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in ["../", *names])
    return f"<html><body>{''.join(links)}</body></html>".encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FileServer

    def do_HEAD(self) -> None:
        status, headers, _ = self.server.answer("HEAD", self.path, dict(self.headers))
        self.begin(status, {"Content-Length": "0", **headers})

    def do_GET(self) -> None:
        server, name = self.server, unquote(self.path.rpartition("/")[2])
        asked = name, self.headers.get("Range")
        with server.guard:
            fault = server.fault(name, server.requests[name]) or server.fault_of_attempt(name, server.attempts[asked])
            server.requests[name] += 1
            server.attempts[asked] += 1
        if fault == "whole":
            del self.headers["Range"]
        status, headers, content = server.answer("GET", self.path, dict(self.headers))
        if fault is not None and fault.isdigit():
            status, headers, content = int(fault), {}, b""
        if fault == "short":
            content = content[: len(content) // 2]
        if fault == "wrong":
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.begin(status, {**headers, "Content-Length": str(len(content))})
        with server.guard:
            server.num_sent[name] += len(content)
        if fault in ("drop", "stall"):
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            if fault == "stall":
                server.closing.wait()
            self.close_connection = True
            self.connection.close()
        else:
            self.wfile.write(content)

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def handle(self) -> None:
        with suppress(OSError):  # the client has gone
            super().handle()

    def finish(self) -> None:
        with suppress(OSError, ValueError):  # it is closed already
            super().finish()


@contextmanager
def file_server(folder: Path, upstream: str | None = None) -> Iterator[FileServer]:
    with FileServer(folder, upstream) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


MOTO = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print("%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()  # until whoever started this goes away
server.stop()
"""


@contextmanager
def moto_server() -> Iterator[str]:
    """The address of an S3 of moto's, in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", MOTO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


def use_s3(patch: pytest.MonkeyPatch, address: str) -> None:
    """Credentials and place of the server, as boto takes them."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_ENDPOINT_URL": f"http://{address}",
    }.items():
        patch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()


@contextmanager
def s3_bucket(name: str, folder: Path) -> Iterator[str]:
    """The address of a moto's S3 whose bucket `name` holds all files below `folder`."""
    with moto_server() as address, pytest.MonkeyPatch.context() as patch:
        use_s3(patch, address)
        system = fsspec.filesystem("s3")
        system.mkdir(name)
        for path in folder.rglob("*"):
            if path.is_file():
                system.put_file(str(path), f"{name}/{path.relative_to(folder)}")
        yield address
