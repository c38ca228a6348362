"""libturbojpeg, callable from Numba code without the GIL and without Python, where it is installed.

The TurboJPEG C API 2.1, which 3.x keeps. Each symbol is bound to the address in exactly the library found here, under
a name of our own: another copy in the process (OpenCV's, Pillow's) cannot take its place, and compiled kernels can
still be kept in Numba's cache on disk, which function pointers would forbid. Without the library every JPEG is
`NOT_RGB`: one that Pillow decodes, to the same pixels.
"""

import sys
from functools import cache

import numpy as np
from numba import types

from imagefeed.pipeline.jit.clib import bind, find
from imagefeed.pipeline.jit.njit import njit

TJPF_RGB = 0
TJFLAG_ACCURATEDCT = 4096
TJCS_CMYK, TJCS_YCCK = 3, 4
OK = 0
CORRUPT = 1  # the decoder failed, or warned: it met bytes that it had to guess
WRONG_SIZE = 2  # a sound JPEG of another height or width than the caller's array
NOT_RGB = 3  # not for libjpeg-turbo but for Pillow: a sound header of four components, or there is no libjpeg-turbo

# Loading the library is all that importing this file does: Numba must know the addresses before it compiles.
_jpeg = find("turbojpeg")
FOUND = _jpeg is not None
CURE = "install libturbojpeg (Debian, Ubuntu: apt-get install libturbojpeg0; conda: libjpeg-turbo)"
_pointer, _int, _size = types.intp, types.int32, types.uint64
_tj_open = bind(_jpeg, "tjInitDecompress", _pointer)
_tj_close = bind(_jpeg, "tjDestroy", _int, _pointer)
_tj_header = bind(_jpeg, "tjDecompressHeader3", _int, _pointer, _pointer, _size, _pointer, _pointer, _pointer, _pointer)
_tj_decompress = bind(_jpeg, "tjDecompress2", _int, _pointer, _pointer, _size, _pointer, _int, _int, _int, _int, _int)


@cache
def tell_of_pillow() -> None:
    """Says once in a process what decodes the JPEGs that ours does not, where libjpeg-turbo is missing."""
    if not FOUND:
        print(f"libturbojpeg was not found: Pillow decodes some of the images, more slowly; {CURE}", file=sys.stderr)


@njit
def jpeg_size(data: np.ndarray) -> tuple[int, int, int]:
    """What the JPEG `data` (uint8 [bytes]) says of itself: OK, a state, or NOT_RGB; then height and width, pixels.

    Each image has a decoder of its own, which costs 0.1 us: one that was used lends a JPEG without tables those of the
    image before it, and one that met a broken header takes the next image for the rest of that.
    """
    header = np.zeros(4, np.int32)  # of a JPEG that holds tables alone nothing is said, and yet it is no error
    at = header.ctypes.data
    decoder = _tj_open()
    if decoder == 0:
        return NOT_RGB, 0, 0
    status = _tj_header(decoder, data.ctypes.data, data.size, at, at + 4, at + 8, at + 12)
    _tj_close(decoder)
    if status != 0 or header[0] < 1 or header[1] < 1:
        return CORRUPT, 0, 0
    return NOT_RGB if header[3] in (TJCS_CMYK, TJCS_YCCK) else OK, header[1], header[0]


@njit
def decompress(data: np.ndarray, out: np.ndarray) -> int:
    """Decodes the JPEG `data` (uint8 [bytes]) of the very size of `out` (uint8 [H, W, 3], RGB, contiguous).

    Returns OK or a state; `out` holds no image unless OK. Another size is rescaled in silence: ask `jpeg_size` first.
    Inverse DCT "islow", smooth upsampling: libjpeg's own defaults, so the pixels are those of Pillow and of everybody.
    """
    height, width = out.shape[0], out.shape[1]
    at, into, flags = data.ctypes.data, out.ctypes.data, TJFLAG_ACCURATEDCT
    decoder = _tj_open()
    if decoder == 0:
        return NOT_RGB
    status = _tj_decompress(decoder, at, data.size, into, width, 3 * width, height, TJPF_RGB, flags)
    _tj_close(decoder)
    return OK if status == 0 else CORRUPT


@njit
def decode_rgb(data: np.ndarray, out: np.ndarray) -> int:
    """Decodes the JPEG `data` (uint8 [bytes]) into `out` (uint8 [H, W, 3], RGB, contiguous).

    Returns OK, WRONG_SIZE, NOT_RGB or another state; `out` holds no image unless OK.
    """
    state, height, width = jpeg_size(data)
    if state != OK:
        return state
    if height != out.shape[0] or width != out.shape[1]:
        return WRONG_SIZE
    return decompress(data, out)
