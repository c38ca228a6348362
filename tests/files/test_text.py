"""Names of any bytes stay apart and lead back; text of any encoding is read or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.pipeline.files.text import decode_text, escaped, lines_of, name_bytes, name_of


@given(st.binary().filter(lambda data: b"\\x" not in data))
def test_a_name_leads_back_to_its_bytes(data: bytes) -> None:
    name = name_of(data)
    assert name_bytes(name) == data
    name.encode()  # it can be stored
    try:
        assert name == data.decode()
    except UnicodeDecodeError:
        assert "\\x" in name
    assert escaped(data.decode("utf-8", "surrogateescape")) == name


def test_a_byte_order_mark_is_no_text() -> None:
    assert decode_text("\ufeffant é\n".encode(), "f") == decode_text("ant é\n".encode(), "f") == "ant é\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_text_is_refused_with_the_cure(encoding: str) -> None:
    with pytest.raises(ValueError, match=r"^a\.txt is no UTF-8 .*save it as UTF-8"):
        decode_text("img/0.jpg 1\n".encode(encoding), "a.txt")


def test_lines_end_where_editors_end_them() -> None:
    assert lines_of("a\nb\r\nc\rd\u2028e\x85f\x0cg") == ["a", "b", "c", "d\u2028e\x85f\x0cg"]
