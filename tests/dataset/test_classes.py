"""What labels mean: the numbers or the names that shards have, and the names that `classes.txt` gives them."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagefeed.pipeline.dataset.classes import label_all, parse_classes
from imagefeed.pipeline.dataset.manifest import Class
from imagefeed.pipeline.formats.listing import Listing

NAMES = st.lists(st.text("abcxyz", min_size=1, max_size=3), min_size=1, max_size=12)


def listing(label: list[int], classes: tuple[str, ...] | None = None) -> Listing:
    """What a shard with these labels holds; the rest is of no matter here."""
    numbers = np.zeros(len(label), np.int64)
    return Listing(
        key=pa.array([""] * len(label)),
        label=np.array(label),
        offset=numbers,
        size=numbers,
        height=numbers,
        width=numbers,
        kind=numbers,
        classes=classes,
    )


def named(names: list[str]) -> Listing:
    """A shard whose samples lie in folders of these names: its labels index its own classes."""
    own = tuple(sorted(set(names)))
    return listing([own.index(name) for name in names], own)


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_each_sample_keeps_its_name_whatever_the_shards_call_it(shards: list[list[str]]) -> None:
    everywhere = [name for shard in shards for name in shard]
    classes = tuple(Class(name, f"the {name}") for name in sorted(set(everywhere), reverse=True))
    for given_classes in (classes, None) if len(set(everywhere)) > 1 else (classes,):
        labels, known = label_all([named(shard) for shard in shards], range(len(shards)), given_classes)
        assert [known[label].wnid for label in labels] == everywhere
        assert known == (given_classes or tuple(Class(name, name) for name in sorted(set(everywhere))))


@given(st.lists(st.lists(st.integers(0, 20), min_size=1), min_size=1, max_size=4))
def test_numbers_stay_and_name_their_classes(shards: list[list[int]]) -> None:
    everywhere = [number for shard in shards for number in shard]
    labels, classes = label_all([listing(shard) for shard in shards], range(len(shards)), None)
    assert labels.tolist() == everywhere
    assert classes == tuple(Class(str(label), str(label)) for label in range(max(everywhere) + 1))
    given_classes = tuple(Class(f"n{label}", "") for label in range(21))
    assert label_all([listing(shard) for shard in shards], range(len(shards)), given_classes)[1] == given_classes


@pytest.mark.parametrize(
    ("listings", "given_classes", "message"),
    [
        ([named(["a", "b"]), listing([0])], None, "first.tar has its labels in folders and second.tar has numbers"),
        ([listing([0]), named(["a", "b"])], None, "second.tar has its labels in folders and first.tar has numbers"),
        (
            [named(["photos"]), named(["photos"])],
            None,
            "first.tar: .* all lie in one folder, photos: there are no",
        ),
        ([named(["a"]), named(["b"])], (Class("a", ""),), "classes.txt lacks the class b of the shards"),
        (
            [listing([0, 1]), listing([2, 1])],
            (Class("a", ""), Class("b", "")),
            "second.tar has the label 2, and .* 2",
        ),
    ],
)
def test_labels_that_mean_nothing_are_an_error_that_names_the_shard(
    listings: list[Listing], given_classes: tuple[Class, ...] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        label_all(listings, ["first.tar", "second.tar"], given_classes)


def test_one_folder_with_a_wordnet_id_is_a_class() -> None:
    labels, classes = label_all([named(["n01440764"])], ["first.tar"], None)
    assert labels.tolist() == [0] and classes == (Class("n01440764", "n01440764"),)


def test_a_list_of_classes_is_a_line_each() -> None:
    content = b"n02 a cat, any  \n\n n01\tthe dog\nn03\n"
    assert parse_classes(content, "classes.txt") == (
        Class("n02", "a cat, any"),
        Class("n01", "the dog"),
        Class("n03", "n03"),
    )


@pytest.mark.parametrize("content", [b"", b" \n\n", b"n1 one\nn1 two\n", b"a one\na one\n"])
def test_a_list_of_no_classes_or_with_one_twice_is_an_error(content: bytes) -> None:
    with pytest.raises(ValueError, match="d/classes.txt: expected one class a line, each once"):
        parse_classes(content, "d/classes.txt")
