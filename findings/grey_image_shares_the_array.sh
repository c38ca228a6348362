#!/usr/bin/env bash
# Pillow 13.0.0: Image.fromarray copies a colour array but shares memory with a grey one.
#
# `fromarray` goes through `frombuffer`, which maps the caller's memory for the modes whose layout Pillow can use as
# it is (L, P, RGBA, CMYK, I;16) and copies for RGB, whose pixels Pillow stores in four bytes. So with the same call,
# writing to the array afterwards changes a grey or RGBA image and leaves an RGB image alone. A grey array that is not
# contiguous (a crop, say) is copied too.
#
# Output seen, array set to 255 after fromarray: L 255, RGBA (255, 255, 255, 255), I;16 changed too, RGB (0, 0, 0); L
# from a slice of a wider array 0.
#
# Why it matters: loaders decode into one buffer that they use again for the next sample. If augmentation or the
# writing of a file happens later (a queue, a thread), RGB samples are right and the few grey ones hold another
# image's pixels. A test with colour images or with crops cannot see it.
#
# Where: PIL/Image.py, fromarray -> frombuffer, _MAPMODES. The reference says it of frombuffer, not of fromarray.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
cat > "$work/probe.py" <<'PY'
import numpy as np
import PIL
from PIL import Image


def after_reuse(array):
    image = Image.fromarray(array)
    array[...] = 255
    return image.mode, image.getpixel((0, 0))


seen = {
    "grey": after_reuse(np.zeros((4, 4), np.uint8)),
    "grey, 16 bit": after_reuse(np.zeros((4, 4), np.uint16)),
    "RGBA": after_reuse(np.zeros((4, 4, 4), np.uint8)),
    "RGB": after_reuse(np.zeros((4, 4, 3), np.uint8)),
    "grey, a crop": after_reuse(np.zeros((4, 8), np.uint8)[:, 2:6]),
}
print("Pillow", PIL.__version__)
print("expected: 0 everywhere, or 255 everywhere: fromarray copies, or it does not")
for name, (mode, pixel) in seen.items():
    print(f"happened: {name}: mode {mode}, pixel {pixel}")
assert seen["grey"] == ("L", 255)
assert seen["grey, 16 bit"] == ("I;16", 255)
assert seen["RGBA"] == ("RGBA", (255, 255, 255, 255))
assert seen["RGB"] == ("RGB", (0, 0, 0))
assert seen["grey, a crop"] == ("L", 0)
PY
"$work/venv/bin/python" "$work/probe.py" "$work"
