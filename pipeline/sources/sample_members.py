"""What the samples of a WebDataset tar say beside image and label: their other members, and the keys of their `json`.

The column NAME is the member `<key>.NAME` as text (UTF-8) where a sample of the tar has such a member, so that `json`
is the whole of that member; else the value of the key NAME in the member `json`.
"""

from collections.abc import Sequence

import pyarrow as pa

from imagefeed.pipeline.dataset.fields import check_there, column_of, json_object
from imagefeed.pipeline.files.ranged import Readable
from imagefeed.pipeline.formats.tar import scan
from imagefeed.pipeline.formats.webdataset import IMAGES, read_member


def read_columns(file: Readable, size: int, name: str, keys: pa.Array, wanted: Sequence[str]) -> dict[str, pa.Array]:
    """The columns `wanted` of the samples `keys` (text [n]) of a tar of `size` bytes, called `name` in messages.

    What a sample lacks is null. Raises `ValueError` for a column that no sample has, with those that there are, and
    with the sample where its text or JSON cannot be read.
    """
    if not wanted:
        return {}
    row_of = {key: row for row, key in enumerate(keys.to_pylist())}
    members = scan(file, 0, size, name)
    places: dict[str, dict[int, int]] = {}  # suffix -> row -> member
    for member, path in enumerate(members.names().to_pylist()):
        base = path.rpartition("/")[2]
        stem, _, suffix = base.partition(".")
        row = row_of.get(path[: len(path) - len(base)] + stem)
        if row is not None and suffix.lower() not in IMAGES:
            places.setdefault(suffix.lower(), {})[row] = member

    def text(row: int, member: int) -> str:
        try:
            return read_member(file, members, member).decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}: sample {keys[row]}: {members.name(member)} is no text ({error})") from error

    there = set(places)
    values: dict[str, list[object]] = {column: [None] * len(keys) for column in wanted}
    for column in there & set(wanted):
        for row, member in places[column].items():
            values[column][row] = text(row, member)
    if keyed := set(wanted) - there:
        for row, member in places.get("json", {}).items():
            record = json_object(text(row, member), f"{name}: the member json of sample {keys[row]}")
            there |= set(record)
            for column in keyed & set(record):
                values[column][row] = record[column]
    check_there(wanted, sorted(there), name, "column")
    return {column: column_of(found, f"{name}: column {column}") for column, found in values.items()}
