#!/usr/bin/env bash
# fsspec 2026.9.0 (with aiohttp 3.14.5): a byte range of an HTTP file may be the whole file, without an error.
#
# `cat_file(url, start, end)` and `cat_ranges` of the HTTP file system send a Range header and return whatever body
# comes back. Nothing checks that the answer is "206 Partial Content". A server that knows no ranges answers "200 OK"
# with the whole file, as HTTP lets it; Python's own `http.server` is one. `open(url)` on the same server does check,
# and raises. So ten bytes from offset 100 become all bytes from offset 0.
#
# Output seen: cat_file(url, 100, 110) gave 256 bytes, the first is 0 where the file has 100; cat_ranges gave 256 and
# 256 where 10 and 10 were asked for; open() raised ValueError.
#
# Why it matters: a loader that knows where each sample lies in a shard asks for exactly such ranges. With a plain
# server or proxy every sample becomes the start of the shard: if that is a JPEG, each decodes as the same first
# picture under another label, and each request moves the whole shard.
#
# Where: fsspec/implementations/http.py, HTTPFileSystem._cat_file; compare HTTPFile.async_fetch_range, which checks.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check fsspec==2026.9.0 aiohttp==3.14.5
cat > "$work/probe.py" <<'PY'
import functools
import http.server
import pathlib
import sys
import threading

import fsspec


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


folder = pathlib.Path(sys.argv[1]) / "served"
folder.mkdir()
(folder / "shard.bin").write_bytes(bytes(range(256)))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/shard.bin"

fs = fsspec.filesystem("http")
piece = fs.cat_file(url, 100, 110)
pieces = fs.cat_ranges([url, url], [0, 100], [10, 110])
try:
    with fs.open(url, block_size=16) as file:
        file.seek(100)
        file.read(10)
    opened = "no error"
except ValueError as error:
    opened = f"ValueError: {error}"
server.shutdown()

print("fsspec", fsspec.__version__)
print("expected: 10 bytes that begin with 100, or an error as from open()")
print(f"happened: cat_file gave {len(piece)} bytes that begin with {piece[0]}")
print(f"          cat_ranges gave {[len(each) for each in pieces]} bytes")
print(f"          open() gave {opened[:78]}")
assert piece == bytes(range(256)), piece
assert [len(each) for each in pieces] == [256, 256]
assert "range requests" in opened, opened
PY
"$work/venv/bin/python" "$work/probe.py" "$work"
