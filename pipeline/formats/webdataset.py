"""The samples in a tar as WebDataset groups them: adjacent members of one key, which ends at the first dot of the name.

A sample needs exactly one image, by its suffix, and a label, for all samples of a shard from the same place: the
member `cls` (decimal), else the field `label` or `cls` of the member `json`, a number or a name, or its `class_name`,
else the class folder in the key or the WordNet id that it begins with (`n01440764/x`, `n01440764_10026`). As with
WebDataset, suffixes may be in capitals and members named `__<something>__` are passed over, and so are those without a
suffix or with a name that begins with a dot, unless their bytes are those of an image. Where samples are not to be had
so, `loose_members.py` makes them.
"""

import json
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from imagefeed.pipeline.files.ranged import Readable, pread
from imagefeed.pipeline.formats.left_out import LeftOut, left_members
from imagefeed.pipeline.formats.listing import Listing, Unlabelled, check_labels
from imagefeed.pipeline.formats.loose_members import regrouped
from imagefeed.pipeline.formats.tar import HEAD, Members, scan
from imagefeed.pipeline.image.stored import JPEG, OTHER
from imagefeed.pipeline.jit.njit import njit
from imagefeed.pipeline.jit.xxhash import xxh3_64

IMAGES = ("jpg", "jpeg", "png", "webp", "ppm", "pgm", "pnm", "bmp", "gif", "tif", "tiff")
SUFFIXES = (*IMAGES, "cls", "json")
IMAGE, CLS, JSON, NOTHING = range(4)
ROLE = np.array([*[IMAGE] * len(IMAGES), CLS, JSON])  # of each suffix
TABLE = np.array(SUFFIXES, "S8").view(np.uint8).reshape(len(SUFFIXES), 8)  # zeros at the end
JPEG_MAGIC = np.frombuffer(b"\xff\xd8\xff", np.uint8)
MAGICS = np.array([b"\xff\xd8\xff", b"\x89PNG", b"RIFF"], "S4").view(np.uint8).reshape(3, 4)

ABSENT, NO_NUMBER = -1, -2  # in place of a label

FINE, TWO_OF_A_KIND, NO_IMAGE, EMPTY, NO_SUFFIX = range(5)
WHY = {
    TWO_OF_A_KIND: "{name} is the second image or label of its sample: a sample has one of each; to take one of its "
    "images, --image with all that follows the first dot of its name, such as --image input.jpg",
    NO_IMAGE: "the sample of {name} has no image (suffixes {images}) beside it; the members of a sample must be "
    "adjacent: write the tar with --sort=name",
    EMPTY: "{name} is empty",
    NO_SUFFIX: "{name} looks like an image, but its name has no suffix, so no reader would find it: rename it",
}
NAME_OF_LABEL = "class_name"
LABELS = ("label", "cls", NAME_OF_LABEL)  # fields of a member json
FOLDER = r"^(?:.*/)?(?P<class>[^/]+)/[^/]+$"
WNID = "n[0-9]{8}"
PREFIX = f"^(?P<class>{WNID})_[^/]*$"


def list_samples(file: Readable, size: int, name: str, image: str | None = None, label: str | None = None) -> Listing:
    """The samples of a tar of `size` bytes; `name` is for messages.

    Of several images of a sample `image` is the suffix of the one that is meant; `label` is the field of the member
    `json` that has the label. Raises `ValueError` with the file and the member for a tar that `formats.tar.scan`
    refuses, for a sample without an image or a label or with two, and for a key that comes twice.
    """
    every = members = scan(file, 0, size, name)
    place_of = np.arange(len(every.ends))
    grouped = _group(members.text, members.ends, members.sizes, members.heads)
    if image is not None or grouped[0] in (NO_IMAGE, TWO_OF_A_KIND):
        members, place_of = regrouped(every, IMAGES, image)
        grouped = _group(members.text, members.ends, members.sizes, members.heads)
    state, place, count, keys, roles, labels = grouped
    if state != FINE:
        said = every.name(int(place_of[place]))
        raise ValueError(f"{name}: " + WHY[state].format(name=said, images=", ".join(IMAGES)))
    if count == 0:
        raise ValueError(f"{name} holds no sample: {len(every.ends)} files, none of them an image")
    keys, roles, labels = keys[:count], roles[:count], labels[:count]
    images = roles[:, IMAGE]
    key = key_strings(members.text, keys)
    check_unique(members.text, keys, key, name)
    classes: tuple[str, ...] | None = None
    words: dict[int, str] = {}
    source = label_source(file, members, roles[0], label)
    if source == CLS:
        missing = labels == ABSENT
        if missing.any():
            raise ValueError(f"{name}: sample {key[int(missing.argmax())]} has no label: its member cls is missing")
        if (labels == NO_NUMBER).any():
            row = int((labels == NO_NUMBER).argmax())
            at, length = members.offsets[roles[row, CLS]], members.sizes[roles[row, CLS]]
            said_so = pread(file, min(int(length), 40), int(at))
            raise ValueError(f"{name}: the label of sample {key[row]} is {said_so!r}, which is no number in decimal")
    elif source == JSON:
        labels, classes, words = json_labels(file, members, roles[:, JSON], key, name, label)
    else:
        if (roles[:, CLS] >= 0).any():
            row = int((roles[:, CLS] >= 0).argmax())
            raise ValueError(f"{name}: sample {key[row]} has a member cls and the first sample {key[0]} has none")
        labels, classes = folder_labels(key, name)
    check_labels(labels, name, key)
    unknown = np.zeros(count, np.int64)
    is_jpeg = (members.heads[images, :3] == JPEG_MAGIC).all(axis=1)
    used = [images] if source == NOTHING else [images, roles[:, source]]
    return Listing(
        key=key,
        label=labels,
        offset=members.offsets[images],
        size=members.sizes[images],
        height=unknown,
        width=unknown,
        kind=np.where(is_jpeg, JPEG, OTHER).astype(np.uint8),
        classes=classes,
        words=words,
        left_out=others(every, place_of[np.concatenate(used)], name),
    )


def others(members: Members, used: np.ndarray, name: str) -> LeftOut:
    """The members that are not among the `used` (int64 [n])."""
    left = np.ones(len(members.ends), bool)
    left[used] = False
    return left_members(members.names().filter(pa.array(left)).to_pylist(), name) if left.any() else LeftOut()


def label_source(file: Readable, members: Members, first: np.ndarray, label: str | None = None) -> int:
    """Where the labels are, from the members (int64 [3]) of the first sample: CLS, JSON, or NOTHING for the key."""
    if first[CLS] >= 0 and label is None:
        return CLS
    if first[JSON] >= 0 and (
        label is not None or label_in(read_member(file, members, int(first[JSON])), label) is not None
    ):
        return JSON
    return NOTHING


def read_member(file: Readable, members: Members, member: int) -> bytes:
    """The data of a member."""
    return pread(file, int(members.sizes[member]), int(members.offsets[member]))


def label_in(text: bytes, label: str | None = None) -> int | str | None:
    """The label in a member json, in the field `label` or those that are known; None where it has none."""
    record = record_of(text)
    if label is not None:
        found = record.get(label)
    else:
        found = next((record[each] for each in LABELS if record.get(each) not in (None, "")), None)
    if isinstance(found, str) and found.isascii() and found.isdigit():
        found = int(found[:20])
    if isinstance(found, str):
        return found or None
    return found if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 2**63 else None


def record_of(text: bytes) -> dict[str, Any]:
    """A member json; empty where it is no object."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def json_labels(
    file: Readable, members: Members, jsons: np.ndarray, key: pa.Array, name: str, label: str | None = None
) -> tuple[np.ndarray, tuple[str, ...] | None, dict[int, str]]:
    """The labels (int64 [n]) in the members `jsons` (int64 [n], -1 for none); the classes' names, sorted, which they
    index, where they are names; and the names that numbers have, where each has one of its own."""
    found: list[int | str] = []
    words: dict[int, set[str]] = {}
    for row, member in enumerate(jsons.tolist()):
        text = read_member(file, members, member) if member >= 0 else b""
        each = label_in(text, label)
        if each is None or (found and type(each) is not type(found[0])):
            raise ValueError(
                f"{name}: sample {key[row]} has no label: no number `{label or 'label'}` or `cls` in a member json"
                + " where the first sample has one" * (each is not None)
            )
        found.append(each)
        word = record_of(text).get(NAME_OF_LABEL)
        if isinstance(each, int) and isinstance(word, str):
            words.setdefault(each, set()).add(word)
    if found and isinstance(found[0], str):
        classes = tuple(sorted({str(each) for each in found}))
        place = {each: number for number, each in enumerate(classes)}
        return np.array([place[str(each)] for each in found], np.int64), classes, {}
    single = {number: min(each) for number, each in words.items() if len(each) == 1}
    return np.array(found, np.int64), None, single if len(single) == len(words) else {}


def folder_labels(key: pa.Array, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels (int64 [n]) and their names from the keys: the last folder, else the WordNet id before an underscore."""
    folders = pc.struct_field(pc.extract_regex(key, FOLDER), "class")
    found = pc.coalesce(folders, pc.struct_field(pc.extract_regex(key, PREFIX), "class"))
    if found.null_count:
        row = int(found.is_null().to_numpy(zero_copy_only=False).argmax())
        raise (Unlabelled if found.null_count == len(found) else ValueError)(
            f"{name}: sample {key[row]} has no label: no member cls, no number `label` in a member json, and no class "
            "folder or WordNet id in its name; another field of a member json, --label FIELD"
        )
    coded = found.dictionary_encode()
    classes = tuple(sorted(coded.dictionary.to_pylist()))
    place = {wnid: label for label, wnid in enumerate(classes)}
    sorted_place = np.array([place[wnid] for wnid in coded.dictionary.to_pylist()], np.int64)
    return sorted_place[coded.indices.to_numpy()], classes


def is_wnid(name: str) -> bool:
    """Whether a class has the name of a WordNet id."""
    return re.fullmatch(WNID, name) is not None


def key_strings(text: np.ndarray, keys: np.ndarray) -> pa.Array:
    """The keys (int64 [n, 2], where each begins and ends in `text`) as strings; what is not UTF-8 is escaped."""
    starts, ends = keys[:, 0], keys[:, 1]
    packed, limits = _pack(text, starts, ends)
    array = pa.LargeStringArray.from_buffers(len(keys), pa.py_buffer(limits), pa.py_buffer(packed))
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        whole = packed.tobytes()
        cut = [whole[a:b] for a, b in zip(limits[:-1].tolist(), limits[1:].tolist(), strict=True)]
        array = pa.array([each.decode("utf-8", "backslashreplace") for each in cut], pa.large_string())
    return array.cast(pa.string())


def check_unique(text: np.ndarray, keys: np.ndarray, strings: pa.Array, name: str) -> None:
    """Raises `ValueError` where a key comes twice in the shard."""
    hashes = _hashes(text, keys)
    order = np.argsort(hashes, kind="stable")
    for place in np.flatnonzero(hashes[order][1:] == hashes[order][:-1]):
        one, other = order[place], order[place + 1]
        if strings[one] == strings[other]:
            raise ValueError(
                f"{name}: the key {strings[one]} comes twice; the members of a sample must be adjacent "
                "(write the tar with --sort=name) and each key belongs to one sample"
            )


@njit
def _group(text, ends, sizes, heads):  # type: ignore[no-untyped-def]
    """Members into samples. Returns (state, member, number of samples n, keys [n, 2], members by role [n, 3], labels).

    `member` is what a message is about. A role that nobody has is -1, a label ABSENT or NO_NUMBER.
    """
    most = len(ends)
    keys, roles, labels = np.zeros((most, 2), np.int64), np.full((most, 3), -1), np.full(most, np.int64(ABSENT))
    count, last = 0, 0
    start = np.int64(0)
    for member in range(most):
        stop = ends[member]
        base = stop
        while base > start and text[base - 1] != 47:  # the last folder's stroke
            base -= 1
        dot = base
        while dot < stop and text[dot] != 46:
            dot += 1
        if dot in (stop, base):
            if _is_image(heads[member]):
                return NO_SUFFIX, member, count, keys, roles, labels
        elif not (text[start] == 95 and _is_meta(text, start, stop)):
            if count == 0 or not _same(text, keys[count - 1, 0], keys[count - 1, 1], start, dot):
                if count and roles[count - 1, IMAGE] < 0:
                    return NO_IMAGE, last, count, keys, roles, labels
                keys[count, 0], keys[count, 1] = start, dot
                count += 1
            role = _role(text, dot + 1, stop)
            if role != NOTHING:
                if roles[count - 1, role] >= 0:
                    return TWO_OF_A_KIND, member, count, keys, roles, labels
                if sizes[member] == 0:
                    return EMPTY, member, count, keys, roles, labels
                roles[count - 1, role] = member
                if role == CLS:
                    labels[count - 1] = _decimal(heads[member], sizes[member])
            last = member
        start = stop
    if count and roles[count - 1, IMAGE] < 0:
        return NO_IMAGE, last, count, keys, roles, labels
    return FINE, 0, count, keys, roles, labels


@njit
def _role(text, start, stop):  # type: ignore[no-untyped-def]
    """What a suffix stands for: IMAGE, CLS, JSON or NOTHING."""
    size = stop - start
    if size > TABLE.shape[1]:
        return NOTHING
    for suffix in range(len(TABLE)):
        i = 0
        while i < TABLE.shape[1]:
            byte = text[start + i] if i < size else np.uint8(0)
            if 65 <= byte <= 90:
                byte += np.uint8(32)
            if byte != TABLE[suffix, i]:
                break
            i += 1
        if i == TABLE.shape[1]:
            return ROLE[suffix]
    return NOTHING


@njit
def _decimal(head, size):  # type: ignore[no-untyped-def]
    """The number that the first bytes of a payload spell, with spaces around it; NO_NUMBER where it is none."""
    value, digits, ended = np.int64(0), 0, False
    if size > HEAD:
        return np.int64(NO_NUMBER)
    for i in range(size):
        byte = head[i]
        if byte == 32 or 9 <= byte <= 13:
            ended = digits > 0
        elif ended or byte < 48 or byte > 57 or value >> 56:
            return np.int64(NO_NUMBER)
        else:
            value, digits = value * 10 + byte - 48, digits + 1
    return value if digits else np.int64(NO_NUMBER)


@njit
def _is_image(head):  # type: ignore[no-untyped-def]
    """Whether a payload begins as a JPEG, a PNG or a WebP does."""
    for magic in MAGICS:
        i = 0
        while i < len(magic) and (magic[i] == 0 or head[i] == magic[i]):
            i += 1
        if i == len(magic):
            return True
    return False


@njit
def _is_meta(text, start, stop):  # type: ignore[no-untyped-def]
    """Whether the first part of a name is `__<something>__`."""
    end = start
    while end < stop and text[end] != 47:
        end += 1
    return (
        end - start >= 4 and text[start] == 95 and text[start + 1] == 95 and text[end - 1] == 95 and text[end - 2] == 95
    )


@njit
def _same(text, start, stop, other_start, other_stop):  # type: ignore[no-untyped-def]
    """Whether two ranges of `text` hold the same bytes."""
    if stop - start != other_stop - other_start:
        return False
    return bool((text[start:stop] == text[other_start:other_stop]).all())


@njit
def _pack(text, starts, ends):  # type: ignore[no-untyped-def]
    """Ranges of `text` one after the other (uint8), and where each begins, the end last (int64 [n + 1])."""
    limits = np.zeros(len(starts) + 1, np.int64)
    limits[1:] = np.cumsum(ends - starts)
    packed = np.empty(limits[-1], np.uint8)
    for i in range(len(starts)):
        packed[limits[i] : limits[i + 1]] = text[starts[i] : ends[i]]
    return packed, limits


@njit
def _hashes(text, keys):  # type: ignore[no-untyped-def]
    """XXH3 (uint64 [n]) of each key."""
    hashes = np.empty(len(keys), np.uint64)
    for i in range(len(keys)):
        hashes[i] = xxh3_64(text[keys[i, 0] : keys[i, 1]])
    return hashes
