#!/usr/bin/env bash
# Runs the vector kernels, a conversion and a batch on an emulated 64-bit Arm processor and compares their digests with
# those of this machine. Debian or Ubuntu, root, about 20 minutes: `tests/jit/arm64.sh`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
python=${PYTHON:-.venv/bin/python}

dpkg --add-architecture arm64
apt-get update -qq
apt-get install -y -qq --no-install-recommends qemu-user-static >/dev/null
packages=(libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libffi8 libbz2-1.0 liblzma5 libssl3 libsqlite3-0 libuuid1
    python3.11-minimal libpython3.11-minimal libpython3.11-stdlib)
(cd "$root" && apt-get download -qq "${packages[@]/%/:arm64}" 2>/dev/null)
for package in "$root"/*.deb; do dpkg -x "$package" "$root/debian"; done
versions=$("$python" -m pip freeze | grep -E '^(numpy|numba|llvmlite|pyarrow|pillow|fsspec|rich|tyro|typeguard|docstring_parser|typing_extensions|shtab|pygments|markdown-it-py|mdurl)==')
# shellcheck disable=SC2086
"$python" -m pip install -q --target "$root/site" --no-deps --only-binary :all: --python-version 3.11 \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 --platform any \
    $versions

program="$root/program.py"
cat >"$program" <<'PROGRAM'
import hashlib, json, sys
from pathlib import Path
from imagefeed.pipeline.convert.convert import convert
from imagefeed.pipeline.convert.options import ConvertOptions
from imagefeed.pipeline.synthetic.ilsvrc2012 import SampleConfig, make_sample
from tests.support.vector_kernels import digests

out = Path(sys.argv[1])
found = digests()
print(json.dumps(found), flush=True)
make_sample(out / "source", SampleConfig(num_classes=2, train_images_per_class=4, val_images_per_class=1))
convert(out / "source", out / "shards", ConvertOptions(format="both"))
shards = sorted(path for path in (out / "shards").rglob("*") if path.suffix in (".tar", ".beton", ".npy"))
print(json.dumps([hashlib.sha256(path.read_bytes()).hexdigest() for path in shards]))
PROGRAM
mkdir "$root/here" "$root/there"
PYTHONPATH=. "$python" "$program" "$root/here" >"$root/expected"
PYTHONPATH=".:$root/site" NUMBA_CACHE_DIR="$root/cache" QEMU_LD_PREFIX="$root/debian" \
    qemu-aarch64-static "$root/debian/usr/bin/python3.11" "$program" "$root/there" >"$root/found"
diff "$root/expected" "$root/found"
echo "arm64: kernels and shards have the digests of this machine"
