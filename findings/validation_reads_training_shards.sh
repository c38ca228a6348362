#!/usr/bin/env bash
# webdataset 1.0.2: with one cache_dir, .../val/000000.tar is read from the cached .../train/000000.tar.
#
# The cache names a shard by the last part of its URL alone. Two sets that number their shards alike, the usual
# layout, share the entries: whichever was read first is served for both. `__url__` of each sample still names the URL
# that was asked for. The argument `url_to_name`, documented to choose another name, is accepted by WebDataset and not
# passed on.
#
# Output seen, train and val with one shard of one sample each behind an HTTP server: train gives label 1; val, whose
# shard says 2, gives label 1 as well, with __url__ ending in val/000000.tar; no request for val reaches the server;
# with url_to_name given too. Without cache_dir val gives 2. Needs the command curl, with which WebDataset reads HTTP.
#
# Why it matters: validation then measures the training set, and reports the accuracy everyone hopes for. The same
# happens between two versions of a set under two folders, and in every program that shares the cache.
#
# Where: webdataset/cache.py, url_to_cache_name (ndir=0) and FileCache.get_file; webdataset/compat.py, WebDataset,
# where FileCache is made.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check webdataset==1.0.2 numpy==2.4.6 pyyaml==6.0.3
cat > "$work/probe.py" <<'PY'
import functools
import http.server
import importlib.metadata
import io
import pathlib
import sys
import tarfile
import threading
import warnings

import webdataset as wds

warnings.simplefilter("ignore")
work = pathlib.Path(sys.argv[1])
asked = []


class Server(http.server.SimpleHTTPRequestHandler):
    def log_request(self, *_):
        asked.append(self.path)


for split, label in (("train", b"1"), ("val", b"2")):
    (work / "served" / split).mkdir(parents=True)
    with tarfile.open(work / "served" / split / "000000.tar", "w") as tar:
        member = tarfile.TarInfo("0.cls")
        member.size = len(label)
        tar.addfile(member, io.BytesIO(label))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, directory=work / "served"))
threading.Thread(target=server.serve_forever, daemon=True).start()


def sample(split, **options):
    url = f"http://127.0.0.1:{server.server_port}/{split}/000000.tar"
    (only,) = wds.WebDataset(url, shardshuffle=False, **options)
    return only["cls"].decode(), only["__url__"].endswith(f"/{split}/000000.tar")


(work / "cache").mkdir()
cached = {"cache_dir": str(work / "cache")}
plain = sample("val")
asked.clear()
train = sample("train", **cached)
val = sample("val", **cached)
named = sample("val", url_to_name=lambda url: url.replace("/", "_"), **cached)
requests = list(asked)
server.shutdown()

print("webdataset", importlib.metadata.version("webdataset"))
print("expected: label 1 from train, 2 from val")
print(f"happened: no cache: val {plain[0]}; cache_dir: train {train[0]}, val {val[0]}, with url_to_name {named[0]};")
print(f"          requests with the cache: {requests}")
assert plain == ("2", True) and train == ("1", True)
assert val == ("1", True) and named == ("1", True)
assert requests == ["/train/000000.tar"], requests
PY
"$work/venv/bin/python" "$work/probe.py" "$work"
