"""Names and text that come as bytes: UTF-8, and bytes that are none stay visible and apart, as `caf\\xe9.jpg`.

So a file has one name here whatever the locale, which can be stored and printed, and leads back to its bytes.
"""

import codecs
import re

WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)  # the first begins UTF-32 as well
ESCAPE = re.compile(rb"\\x([89a-f][0-9a-f])")
LINE_END = re.compile(r"\r\n|\n|\r")


def name_of(data: bytes) -> str:
    """The name that bytes spell."""
    return data.decode("utf-8", "backslashreplace")


def name_bytes(name: str) -> bytes:
    """The bytes that `name_of` was given, if it escaped some of them."""
    return ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), name.encode())


def escaped(text: str) -> str:
    """Text of `decode_text` as a name."""
    return text if text.isascii() else name_of(text.encode("utf-8", "surrogateescape"))


def decode_text(content: bytes, name: str) -> str:
    """The text of a file that is called `name`, without a byte order mark; bytes that are no UTF-8 become surrogates.

    Raises `ValueError` where it is UTF-16 or UTF-32.
    """
    if content.startswith(WIDE) or b"\0" in content:
        raise ValueError(f"{name} is no UTF-8 (UTF-16, as it seems): save it as UTF-8, `iconv -f UTF-16 -t UTF-8` does")
    return content.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")


def lines_of(text: str) -> list[str]:
    """The lines of a text. Other characters that end a line somewhere (U+2028, form feeds) belong to names."""
    return LINE_END.split(text)
