#!/usr/bin/env bash
# imagecodecs 2026.3.6 and pyvips 3.2.0 (libvips 8.18.7): half a JPEG decodes to a full-size image, without an error.
#
# All five packages decode with libjpeg-turbo or its relative mozjpeg, which warns about a file that ends early and
# fills the rest with grey. What becomes of the warning differs: Pillow 13.0.0 and simplejpeg 1.9.0 raise, OpenCV
# 5.0.0 returns None, imagecodecs and pyvips return the image. pyvips raises with fail_on="truncated"; imagecodecs has
# no such option.
#
# Output seen, first half of a 256x256 JPEG: Pillow OSError, simplejpeg ValueError, OpenCV None; imagecodecs and
# pyvips return 256x256x3 whose lower rows are all 128.
#
# Why it matters: a cut download or a full disk leaves such files. Whoever swaps Pillow for a faster decoder also
# removes the only check that found them; the network then learns grey halves under real labels. Shape, dtype and
# count are right.
#
# Where: imagecodecs/_jpeg8.pyx (its output_message hook); libvips, libvips/foreign/jpeg2vips.c and `fail_on`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check \
    imagecodecs==2026.3.6 pyvips==3.2.0 pyvips-binary==8.18.7 simplejpeg==1.9.0 pillow==13.0.0 \
    opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > "$work/probe.py" <<'PY'
import io
import logging

import cv2
import imagecodecs
import numpy as np
import PIL
import pyvips
import simplejpeg
from PIL import Image

logging.disable(logging.WARNING)
picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8), (9, 9), 0)
file = io.BytesIO()
Image.fromarray(picture).save(file, "JPEG")
half = file.getvalue()[: len(file.getvalue()) // 2]
decoders = {
    "Pillow": lambda: np.asarray(Image.open(io.BytesIO(half))),
    "simplejpeg": lambda: simplejpeg.decode_jpeg(half),
    "OpenCV": lambda: cv2.imdecode(np.frombuffer(half, np.uint8), cv2.IMREAD_COLOR),
    "imagecodecs": lambda: imagecodecs.jpeg8_decode(half),
    "pyvips": lambda: pyvips.Image.new_from_buffer(half, "").numpy(),
    "pyvips, fail_on": lambda: pyvips.Image.new_from_buffer(half, "", fail_on="truncated").numpy(),
}


def outcome(decode):
    try:
        image = decode()
    except (OSError, ValueError, pyvips.Error) as error:
        return type(error).__name__
    return "None" if image is None else f"{image.shape}, last rows {np.unique(image[-64:]).tolist()}"


seen = {name: outcome(decode) for name, decode in decoders.items()}
print("imagecodecs", imagecodecs.__version__, "pyvips", pyvips.__version__, "simplejpeg", simplejpeg.__version__,
      "Pillow", PIL.__version__, "OpenCV", cv2.__version__)
print("expected: an error, or None")
for name, text in seen.items():
    print(f"happened: {name}: {text}")
grey = "(256, 256, 3), last rows [128]"
assert seen == {"Pillow": "OSError", "simplejpeg": "ValueError", "OpenCV": "None", "imagecodecs": grey, "pyvips": grey,
                "pyvips, fail_on": "Error"}, seen
PY
"$work/venv/bin/python" "$work/probe.py" "$work"
