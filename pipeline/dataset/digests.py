"""What is hashed of records: one spelling, field by field, for ever.

A finished split, an index and a merged beton are known by such hashes. The spelling is that of Python's `repr` of the
classes as they were called at first, so renaming a class, or giving it a field, must not change it: then every dataset
would count as made from another source. What a new field means for the bytes of a shard is added to it only where it is
not the default.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from imagefeed.pipeline.dataset.manifest import Class, Shard
from imagefeed.pipeline.image.stored import Storage


def spell_tuple(parts: Iterable[str]) -> str:
    """Parts that are spelled already, as a tuple."""
    joined = list(parts)
    return f"({', '.join(joined)}{',' * (len(joined) == 1)})"


def spell_classes(classes: Sequence[Class] | None) -> str:
    """Classes; `None` where nobody has named them."""
    if classes is None:
        return "None"
    return spell_tuple(f"Class(wnid={each.wnid!r}, words={each.words!r})" for each in classes)


def spell_file(path: Path, num_bytes: int, modified_ns: int) -> str:
    """A shard of others as it lies on disk: path, bytes, nanoseconds since 1970."""
    return f"ShardFile(path=PosixPath({str(path)!r}), num_bytes={num_bytes!r}, modified_ns={modified_ns!r})"


def spell_shards(shards: Sequence[Shard]) -> str:
    """Shards as a manifest names them."""
    return spell_tuple(
        f"Shard(name={each.name!r}, num_samples={each.num_samples!r}, num_bytes={each.num_bytes!r}, "
        f"sha256={each.sha256!r}, modified_ns={each.modified_ns!r})"
        for each in shards
    )


def spell_storage(storage: Storage) -> str:
    """How images are stored."""
    return (
        f"{{'resize': {storage.resize!r}, 'size': {storage.size!r}, 'encoding': {storage.encoding!r}, "
        f"'quality': {storage.quality!r}, 'codec': {storage.codec!r}, 'sampling': {storage.sampling!r}, "
        f"'huffman': {storage.huffman!r}}}"
    )
