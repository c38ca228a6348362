#!/usr/bin/env bash
# fsspec 2026.9.0: `pipe_file(path, data, mode="create")`, which is to fail where the file exists, succeeds for two
# callers at once on the local file system. Both believe that they made the file; the last one's bytes stand in it.
#
# The general method looks whether the file exists and then opens it with "wb". The local file system inherits it,
# although `open(path, "xb")` is atomic there. On S3 the same call is atomic (a conditional request), so code that was
# tested on a bucket loses its guarantee on a disk.
#
# Output seen, two threads for each of 4,000 files: both succeeded for 200 to 1,370 of them; with "xb" for none.
#
# Why it matters: a lock file, a manifest that is written once or a claim on a shard is made this way, and two jobs then
# hold it at the same time.
#
# Where: fsspec/spec.py, AbstractFileSystem.pipe_file; fsspec/implementations/local.py has none of its own.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check fsspec==2026.9.0
cat > "$work/probe.py" <<'PY'
import sys
import threading

import fsspec

FILES = 4000
disk = fsspec.filesystem("file")
sys.setswitchinterval(1e-6)


def claimed(path, create):
    """How many of two threads were told that they have made the file."""
    told, together = [], threading.Barrier(2)

    def claim(name):
        together.wait()
        try:
            create(path, name)
            told.append(name)
        except FileExistsError:
            pass

    threads = [threading.Thread(target=claim, args=(name,)) for name in (b"first", b"second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(told)


def exclusively(path, data):
    with open(path, "xb") as file:
        file.write(data)


ways = {"pipe_file": lambda path, data: disk.pipe_file(path, data, mode="create"), "xb": exclusively}
twice = {
    way: sum(claimed(f"{sys.argv[1]}/{way}{number}", create) == 2 for number in range(FILES))
    for way, create in ways.items()
}
print(f"fsspec {fsspec.__version__}: both threads made the file in {twice} of {FILES} files")
assert twice["pipe_file"] > 0 and twice["xb"] == 0
PY
mkdir "$work/files"
"$work/venv/bin/python" "$work/probe.py" "$work/files"
