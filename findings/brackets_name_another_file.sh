#!/usr/bin/env bash
# fsspec 2026.9.0: reading or deleting "photo[1].jpg" reads or deletes "photo1.jpg".
#
# `cat`, `get` and `rm` expand each path as a glob pattern, even where a file of exactly that name exists. "[1]" is a
# set of one character, so the name matches "photo1.jpg" and does not match itself. `exists`, `open` and `cat_file`
# take the same string literally. Names of this kind are common: browsers number a second download so.
#
# Output seen: exists() True; cat gave {'/set/photo1.jpg': b'plain'} (and a dict, not bytes); get copied photo1.jpg;
# rm deleted photo1.jpg and left photo[1].jpg. No call raised. The local file system's cat does the same, its rm does
# not; s3fs 2026.9.0 deletes the wrong object as well (seen with moto 5.2.5).
#
# Why it matters: collected image folders hold such names. A loader pairs one file's pixels with another file's label,
# and a clean-up of a bad image deletes a good one and keeps the bad one.
#
# Where: fsspec/spec.py, AbstractFileSystem.expand_path (`has_magic`); fsspec/asyn.py, _expand_path, for s3fs.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check fsspec==2026.9.0
cat > "$work/probe.py" <<'PY'
import pathlib
import sys

import fsspec

fs = fsspec.filesystem("memory")
fs.pipe({"/set/photo[1].jpg": b"bracket", "/set/photo1.jpg": b"plain"})
name = "/set/photo[1].jpg"

known = fs.exists(name)
literal = fs.cat_file(name)
read = fs.cat(name)
out = pathlib.Path(sys.argv[1]) / "out"
fs.get(name, f"{out}/")
copied = sorted(path.name for path in out.iterdir())
fs.rm(name)
left = fs.ls("/set", detail=False)

print("fsspec", fsspec.__version__)
print(f"expected: exists, cat, get and rm of {name} mean that file")
print(f"happened: exists {known}, cat_file {literal}, cat {read}")
print(f"          get copied {copied}; after rm there is {left}")
assert known and literal == b"bracket"
assert read == {"/set/photo1.jpg": b"plain"}
assert copied == ["photo1.jpg"]
assert left == ["/set/photo[1].jpg"]
PY
"$work/venv/bin/python" "$work/probe.py" "$work"
