"""The list of a source as a Parquet file: which bytes of which file each image is, and its class."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from imagefeed.pipeline.files.atomic import atomic
from imagefeed.pipeline.sources.open_source import open_source
from imagefeed.pipeline.sources.reading import ReadOptions

COLUMNS = ["split", "id", "key", "label", "class", "file", "offset", "size"]


def write_list(source: str, out: Path, reading: ReadOptions = ReadOptions()) -> int:
    """Lists `source`, whatever `convert` takes, to `out`; returns how many images it has.

    The rows of a split are in the order of their ids, which are those that a conversion of all of it gives. Raises as
    `pipeline.sources.open_source.open_source` does.
    """
    opened, tables = open_source(source, reading=reading), []
    names = pa.array([each.wnid for each in opened.classes])
    for split, table in opened.splits.items():
        ids = pa.array(range(len(table)), pa.int64())
        of_split = pa.DictionaryArray.from_arrays(pa.array([0] * len(table), pa.int32()), [split]).cast(pa.string())
        for name, column in (("split", of_split), ("id", ids), ("class", names.take(table["label"]))):
            table = table.append_column(name, column)
        tables.append(table.select(COLUMNS))
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic(out) as path:
        pq.write_table(pa.concat_tables(tables), path)
    return sum(map(len, tables))
