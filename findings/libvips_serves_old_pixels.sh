#!/usr/bin/env bash
# pyvips 3.2.0, libvips 8.18.7: opening a file that was rewritten gives the pixels it had before.
#
# libvips keeps a cache of operations for the whole process. "Load this path" is one, and its key is the path and the
# options, not the file's time, size or inode. So a second `new_from_file` of the same path returns the first image,
# also after an atomic rename. The same call with `revalidate=True` reads the new file.
#
# Output seen: mean 10 before; after the file was replaced by one of mean 200 (other size as well): 10 and 32x32, with
# revalidate=True 200 and 64x64; same for PNG and JPEG.
#
# Why it matters: a job that resizes an image in place and then reads it back to check or to measure it judges the old
# pixels. In a long-lived worker, what it returns depends on which of the last 100 operations the process happened to
# do.
#
# Where: libvips, libvips/iofuncs/cache.c (vips_cache_operation_buildp); `revalidate` in libvips/foreign/foreign.c.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
    pyvips==3.2.0 pyvips-binary==8.18.7 pillow==13.0.0
cat > "$work/probe.py" <<'PY'
import os
import pathlib
import sys

import pyvips
from PIL import Image

work = pathlib.Path(sys.argv[1])
seen = {}
for suffix in ("png", "jpg"):
    path = work / f"image.{suffix}"
    Image.new("L", (32, 32), 10).save(path)
    before = pyvips.Image.new_from_file(str(path))
    first = before.avg()
    Image.new("L", (64, 64), 200).save(work / f"new.{suffix}")
    os.replace(work / f"new.{suffix}", path)
    again = pyvips.Image.new_from_file(str(path))
    fresh = pyvips.Image.new_from_file(str(path), revalidate=True)
    seen[suffix] = (first, again.avg(), again.width, fresh.avg(), fresh.width)

print("pyvips", pyvips.__version__, "libvips", ".".join(str(pyvips.version(i)) for i in range(3)))
print("expected: mean 200 and width 64 after the file was replaced")
for suffix, (first, mean, width, fresh, fresh_width) in seen.items():
    print(f"happened: {suffix}: {first} before, then {mean} and width {width}; revalidate: {fresh}, {fresh_width}")
    assert (first, mean, width) == (10, 10, 32)
    assert (fresh, fresh_width) == (200, 64)
PY
"$work/venv/bin/python" "$work/probe.py" "$work"
