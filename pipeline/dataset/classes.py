"""What the labels of shards and lists that others made mean: the numbers and names in them, and a file of names.

`classes.txt` names the classes, one a line in the order of the labels: a WordNet id or a number and, after a space,
words; or else a name, which may have several words. A JSON file has a list of names, or names by label
(`{"0": "cat"}`, `{"0": ["n02123045", "tabby"]}`), or labels by name (`{"cat": 0}`).
"""

import json
import re
from collections.abc import Sequence

import numpy as np

from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.files.text import decode_text, escaped, lines_of
from imagefeed.pipeline.formats.listing import Listing
from imagefeed.pipeline.formats.webdataset import is_wnid

CLASSES = "classes.txt"
NAME_FILES = (
    *(CLASSES, "classnames.txt", "class_names.txt", "classes.json", "classnames.json", "class_names.json"),
    *("class_to_idx.json", "class_index.json", "imagenet_class_index.json"),
)
ID = re.compile(r"n?[0-9]+")  # in front of a name, as WordNet has it


def parse_classes(content: bytes, name: str) -> tuple[Class, ...]:
    """The classes. Raises `ValueError` where there is none, one comes twice, or the file is no UTF-8 but UTF-16."""
    text = decode_text(content, name)
    if name.endswith(".json"):
        classes = parse_json(text, name)
    else:
        lines = [escaped(line).strip() for line in lines_of(text) if line.strip()]
        words = [line.split(maxsplit=1) for line in lines]
        if all(ID.fullmatch(each[0]) for each in words):
            classes = tuple(Class(each[0], each[-1].strip()) for each in words)
        else:
            classes = tuple(Class(line, line) for line in lines)
    if not classes or len({each.wnid for each in classes}) < len(classes):
        raise ValueError(f"{name}: expected one class a line, each once")
    return classes


def parse_json(text: str, name: str) -> tuple[Class, ...]:
    """The classes of a JSON file. Raises `ValueError` where it is none of what is read, see above."""
    try:
        found = json.loads(text)
        if isinstance(found, dict) and all(type(each) is int for each in found.values()):
            found = {str(label): each for each, label in found.items()}
        if isinstance(found, dict):
            found = [found[str(label)] for label in range(len(found))]
        pairs = [each if isinstance(each, list) else [each, each] for each in found]
        if any(len(pair) != 2 or not all(isinstance(each, str) for each in pair) for pair in pairs):
            raise ValueError("a name is no text")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{name} names no classes ({type(error).__name__}: {error}): expected a list of names, or names by the "
            "labels from 0 on, or labels by name"
        ) from error
    return tuple(Class(escaped(wnid), escaped(words)) for wnid, words in pairs)


def label_all(
    listings: list[Listing], shards: Sequence[object], given: tuple[Class, ...] | None
) -> tuple[np.ndarray, tuple[Class, ...]]:
    """The labels of all samples (int64 [n]) of `shards`, and what they index: the `given` classes if there are any.

    Named classes are sorted by name, numbered ones are called by their number, unless `classes.txt` names them.
    """
    named = [each.classes is not None for each in listings]
    if len(set(named)) > 1:
        one, other = (shards[named.index(kind)] for kind in (True, False))
        raise ValueError(f"{one} has its labels in folders and {other} has numbers: index them apart")
    labels = [each.label for each in listings]
    if all(named):
        names = sorted({name for each in listings for name in each.classes or ()})
        if len(names) == 1 and not is_wnid(names[0]) and given is None:
            raise ValueError(
                f"{shards[0]}: no sample has a member cls or json with a label, and all lie in one folder, "
                f"{names[0]}: there are no labels; if that is the only class, convert with --one-class"
            )
        classes = given or tuple(Class(name, name) for name in names)
        label_of = {each.wnid: label for label, each in enumerate(classes)}
        if unknown := [name for name in names if name not in label_of]:
            raise ValueError(f"{shards[0]}: {CLASSES} lacks the class {unknown[0]} of the shards")
        places = [np.array([label_of[name] for name in each.classes or ()]) for each in listings]
        return np.concatenate([place[label] for place, label in zip(places, labels, strict=True)]), classes
    joined = np.concatenate(labels)
    number = int(joined.max()) + 1
    if given is not None and number > len(given):
        shard = next(place for place, each in enumerate(labels) if each.max() == number - 1)
        raise ValueError(f"{shards[shard]} has the label {number - 1}, and {CLASSES} names {len(given)} classes")
    return joined, given or tuple(Class(str(label), str(label)) for label in range(number))
