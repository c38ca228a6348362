#!/usr/bin/env bash
# webdataset 1.0.2 with tar files of Python 3 or GNU tar: files that are hard links vanish from their samples.
#
# Both tar writers store a second name of the same inode as a link entry without data. WebDataset's reader takes
# regular entries only and skips links in silence (it reads a stream and cannot go back). Tools that save space by
# linking equal files (jdupes -L, hardlink, cp -l, rsync --link-dest) make such folders, and equal files are above all
# the tiny label files: two images of one class have the same .cls.
#
# Output seen: 4 samples of 2 classes, equal .cls files linked. Python's tarfile extracts all 8 files with their
# bytes; WebDataset gives 4 samples, and only the first of each class has its label: [['cls', 'jpg'], ['cls', 'jpg'],
# ['jpg'], ['jpg']]. No error or warning.
#
# Why it matters: the archive is sound, `tar -x` restores all of it, the number of samples is right, and yet labels,
# or with linked duplicate images the images, are missing. `.to_tuple("jpg", "cls")` with a handler that continues
# then drops nearly the whole set: one sample a class is left.
#
# Where: webdataset/tariterators.py, tar_file_iterator (`if not tarinfo.isreg(): continue`);
# tarfile.TarFile.gettarinfo.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check webdataset==1.0.2 numpy==2.4.6 pyyaml==6.0.3
cat > "$work/probe.py" <<'PY'
import importlib.metadata
import os
import pathlib
import sys
import tarfile

import webdataset as wds

work = pathlib.Path(sys.argv[1])
(work / "set").mkdir()
labels = {}
for i, label in enumerate(b"3737"):
    (work / f"set/{i}.jpg").write_bytes(b"image %d" % i)
    if label in labels:
        os.link(labels[label], work / f"set/{i}.cls")
    else:
        labels[label] = work / f"set/{i}.cls"
        labels[label].write_bytes(bytes([label]))
with tarfile.open(work / "shard.tar", "w") as tar:
    for path in sorted((work / "set").iterdir()):
        tar.add(path, arcname=path.name)

with tarfile.open(work / "shard.tar") as tar:
    stored = {name: tar.extractfile(name).read() for name in tar.getnames()}
samples = list(wds.WebDataset(str(work / "shard.tar"), shardshuffle=False))
fields = [sorted(key for key in sample if not key.startswith("__")) for sample in samples]

print("webdataset", importlib.metadata.version("webdataset"))
print("expected: [['cls', 'jpg']] * 4, since the archive holds", len(stored), "files with their bytes")
print("happened:", fields)
assert len(stored) == 8 and stored["3.cls"] == b"7" and stored["2.cls"] == b"3"
assert fields == [["cls", "jpg"], ["cls", "jpg"], ["jpg"], ["jpg"]], fields
PY
"$work/venv/bin/python" "$work/probe.py" "$work"
