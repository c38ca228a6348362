"""compare.json: two evaluations of one split beside each other. Written through these classes alone."""

from dataclasses import dataclass

from imagefeed.jobs.report.schema import VERSION, Chance, CheckpointFacts, Curves, MeasuredError, PairTest


@dataclass(frozen=True, kw_only=True)
class AnswerErrors:
    """The errors of one evaluation's answer by one protocol."""

    top1: MeasuredError
    top5: MeasuredError


@dataclass(frozen=True, kw_only=True)
class ProtocolComparison:
    """Both answers by one protocol, and McNemar's test between them."""

    description: str
    errors: dict[str, AnswerErrors]  # A and B
    test: PairTest


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where one evaluation's numbers come from."""

    checkpoints: tuple[CheckpointFacts, ...]
    command: str
    predictions_sha256: str
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class ClassChange:
    """A class's samples, its top-1 error in A and in B, and B's less A's."""

    label: int
    words: str
    total: int
    A: float
    B: float
    change: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The content of compare.json."""

    version: int = VERSION
    split: str
    num_samples: int
    num_classes: int
    chance: Chance
    digest: str
    headline: str
    protocols: dict[str, ProtocolComparison]  # those that both have
    evaluations: dict[str, Origin]  # A and B
    training: dict[str, Curves]  # "A", or "A, net 2" where it has several runs
    classes: tuple[ClassChange, ...]  # the most improved first
