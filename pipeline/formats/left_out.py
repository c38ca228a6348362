"""What a source holds that a conversion of it does not take: never left without a word."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """How many files and members of tars, by suffix (`.txt`, "" without one), and which splits, with the reason."""

    files: dict[str, int] = field(default_factory=dict)
    members: dict[str, int] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    first: str = ""  # one of the files, or else of the members

    def __bool__(self) -> bool:
        return bool(self.files or self.members or self.splits)

    def __add__(self, other: "LeftOut") -> "LeftOut":
        return LeftOut(
            files=added(self.files, other.files),
            members=added(self.members, other.members),
            splits={**self.splits, **other.splits},
            first=self.first or other.first,
        )

    def without(self, fields: Sequence[str]) -> "LeftOut":
        """The same but for the members that `fields` are read from: those of these suffixes, and json."""
        read = {"." + name for name in (*fields, "json")} if fields else set()
        return replace(self, members={suffix: count for suffix, count in self.members.items() if suffix not in read})

    def describe(self) -> str:
        """A line: `12 files .txt, 1 member .md, the split test (it has no labels); the first: a.txt`."""
        parts = [
            f"{count:,} {what}{'s' * (count > 1)} {suffix or 'without a suffix'}"
            for what, counts in (("file", self.files), ("member", self.members))
            for suffix, count in counts.items()
        ]
        parts += [f"the split {name} ({why})" for name, why in self.splits.items()]
        return ", ".join(parts) + f"; the first: {self.first}" * bool(self.first)


def added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    """The sums of counts, by suffix in sorted order."""
    return dict(sorted((Counter(one) + Counter(other)).items()))


def suffix_of(name: str) -> str:
    """What is counted together: the last dot of a name's last part and what follows, in small letters."""
    return "".join(name.rpartition("/")[2].rpartition(".")[1:]).lower() if "." in name.rpartition("/")[2] else ""


def left_files(names: Iterable[str]) -> LeftOut:
    """Files `names`, of which there may be none."""
    listed = list(names)
    return LeftOut(files=added({}, Counter(map(suffix_of, listed))), first=listed[0] if listed else "")


def left_members(names: Iterable[str], tar: str) -> LeftOut:
    """Members `names` of the tar `tar`."""
    listed = list(names)
    return LeftOut(members=added({}, Counter(map(suffix_of, listed))), first=f"{listed[0]} in {tar}" if listed else "")
