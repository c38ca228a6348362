"""A column of labels, numbers or text, and the names that Hugging Face's description of a file gives them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def label_words(column: pa.ChunkedArray, name: str, keys: pa.Array) -> tuple[np.ndarray, list[str]] | None:
    """Labels that are text as places (int64 [n]) in their sorted names, and these; None where they are no text."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return None
    check_labelled(column, name, keys)
    words = sorted(pc.unique(column).to_pylist())
    return pc.index_in(column, pa.array(words, column.type)).to_numpy().astype(np.int64), words


def label_numbers(column: pa.ChunkedArray, name: str, keys: pa.Array) -> np.ndarray:
    """The labels (int64 [n]) of the samples `keys`, all -1 where all are null or -1.

    Raises `ValueError` where one is missing, or no whole number.
    """
    if column.null_count == len(column):
        return np.full(len(column), -1)
    try:
        numbers = column.cast(pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"{name}: labels are numbers from 0 on, and one is something else ({error})") from error
    check_labelled(numbers, name, keys)
    found = numbers.to_numpy()
    if (found < 0).any() and not (found == -1).all():
        row = int((found < 0).argmax())
        raise ValueError(
            f"{name}: row {row} (sample {keys[row]}) has the label {found[row]}: a label is 0 or more; leave out what "
            "has none"
        )
    return found


def check_labelled(column: pa.ChunkedArray, name: str, keys: pa.Array) -> None:
    """Raises `ValueError` with the row of the first label that is missing."""
    if column.null_count:
        row = pc.index(column.is_null(), True).as_py()
        raise ValueError(f"{name}: row {row} (sample {keys[row]}) has no label: leave out what has none")


def class_words(metadata: dict[bytes, bytes], label: str) -> list[str]:
    """The names of the classes in Hugging Face's description of a file; none where there is no such thing."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, ValueError, TypeError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []
