#!/usr/bin/env bash
# mosaicml-streaming 0.13.0: an image with a palette comes back from the encoding `pil` in other colours.
#
# MDSWriter(columns={"x": "pil"}) keeps `image.mode` and `image.tobytes()`. Those of mode P are places in a palette,
# which is not kept: reading makes an image of mode P with no palette of its own. LitData 0.2.76 has the same code
# (PILSerializer). Nothing is said when writing or reading.
#
# Output seen: a red image (255, 0, 0) is read back as (0, 0, 0).
#
# Why it matters: GIFs and many PNGs open in mode P. A dataset of class folders that is written with `pil` as the images
# are opened trains on wrong colours for these files alone, and a count or a hash of the dataset does not show it.
#
# Where: streaming/base/format/mds/encodings.py, PIL.encode; litdata/streaming/serializers.py, PILSerializer.serialize.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# The two packages ask for a dozen clouds' clients; their module of encodings needs NumPy and Pillow alone.
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check numpy==2.4.6 pillow==13.0.0 typing_extensions
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check --no-deps mosaicml-streaming==0.13.0
cat > "$work/probe.py" <<'PY'
import importlib.util
import sysconfig
from importlib.metadata import version

from PIL import Image

path = sysconfig.get_path("purelib") + "/streaming/base/format/mds/encodings.py"
spec = importlib.util.spec_from_file_location("encodings_of_mds", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

image = Image.new("RGB", (2, 2), (255, 0, 0)).quantize(4)
assert image.mode == "P"
found = module.mds_decode("pil", module.mds_encode("pil", image))
before, after = (each.convert("RGB").getpixel((0, 0)) for each in (image, found))
print("mosaicml-streaming", version("mosaicml-streaming"))
print(f"expected: {before}")
print(f"happened: {after}, mode {found.mode}")
assert before == (255, 0, 0) and after != before
PY
"$work/venv/bin/python" "$work/probe.py"
