"""What lies where nothing was recognised: suffixes and counts, so that a message says more than what it expected."""

from collections import Counter

import pyarrow as pa

MOST = 8  # suffixes that are named
PACKED = (".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2", ".tbz2", ".txz")  # tars of which no part can be read


def found_there(files: pa.Table) -> str:
    """The files of a listing (`FILES`) by suffix, the most first: `12 .arrow, 3 .json`."""
    names = [name for name in files["name"].to_pylist() if not name.endswith("/")]
    counts = Counter(map(suffix_of, names)).most_common()
    parts = [f"{count:,} {suffix or 'without a suffix'}" for suffix, count in counts[:MOST]]
    parts += [f"{sum(count for _, count in counts[MOST:]):,} others"] * (len(counts) > MOST)
    return ", ".join(parts) or "no file"


def suffix_of(name: str) -> str:
    """The last dot of a name's last part and what follows, in small letters; that of a tar with it."""
    last = name.rpartition("/")[2].lower()
    packed = next((each for each in PACKED if last.endswith(each)), None)
    return packed or "".join(last.rpartition(".")[1:]) * ("." in last)


def packed_tars(files: pa.Table) -> list[str]:
    """The tars of a listing that are compressed."""
    return [name for name in files["name"].to_pylist() if name.lower().endswith(PACKED)]
