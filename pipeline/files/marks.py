"""What tells a folder that imagefeed writes to from others, by the names that are in it."""

from collections.abc import Collection

RECORDS = ".records"  # a folder: what is known of finished shards, until the manifest is written
LOCK = ".lock"  # of a conversion, in the folder that its splits lie in; it may stay when the conversion has ended
MANIFEST = "manifest.json"
SAMPLES = "samples.parquet"
FINISHED = ".finished"  # no file: stands in a listing for a manifest with its table
MARKS = (FINISHED, RECORDS, LOCK)


def marks_of(names: Collection[str]) -> list[str]:
    """Those of `MARKS` that a folder with files and folders of these `names` deserves."""
    found = [mark for mark in (RECORDS, LOCK) if mark in names]
    return [FINISHED, *found] if MANIFEST in names and SAMPLES in names else found
