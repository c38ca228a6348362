"""Judge checkpoints on a split, on a Ray cluster: the errors of the centre crop and of ten crops.

    ray job submit --address http://127.0.0.1:8265 --working-dir . -- \
        python jobs/evaluate.py --checkpoint /runs/a/checkpoint-last.pt \
        --data /data/imagenet-256 --out /runs/a/evaluation

    python jobs/evaluate.py --checkpoint F --data DIR --out DIR    # starts a Ray of its own
    python jobs/evaluate.py --checkpoint F G H --data DIR --out DIR    # each net, their ensemble, and who is better
    python jobs/evaluate.py --compare A B --out DIR                # two finished evaluations beside each other
    python jobs/evaluate.py                                        # the sample data and the net trained on it

Writes OUT/predictions.parquet, OUT/report.json and, last, OUT/report.html. Actors score slices of the split,
which they see under the same path as the driver does. A lost actor is started again and its slice done again;
the results are the same, to the byte, for any number of actors.
"""

import sys
from dataclasses import replace
from pathlib import Path

if not __package__:  # a script finds its own checkout: that of the submitted job, or the one it lies in
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tyro

from imagefeed.jobs.evaluation.config import EvaluateConfig, out_folder
from imagefeed.jobs.report.schema import Chance, ProtocolResult
from imagefeed.jobs.training.sample_run import sample_checkpoint
from imagefeed.pipeline.convert.sample_data import sample_shards
from imagefeed.pipeline.runtime.command import run_command, script_part

with script_part("evaluate"):
    from imagefeed.jobs.evaluation.evaluate import compare, evaluate


def completed(config: EvaluateConfig) -> EvaluateConfig:
    """`config` with the sample data and the net trained on it where none are named; made if they are missing."""
    data = config.data or sample_shards()
    return replace(config, data=data, checkpoint=config.checkpoint or (sample_checkpoint(),))


def main(config: EvaluateConfig) -> None:
    """Evaluates, and says how it came out and where the report is."""
    if config.compare:
        compare(config.compare, out_folder(config))
        return
    report = evaluate(completed(config))
    results: dict[str, ProtocolResult | Chance] = {**report.protocols, "chance": report.chance}
    for name, entry in results.items():
        print(f"{name}: top-1 error {entry.top1.error:.1%}, top-5 error {entry.top5.error:.1%}")
    print(f"report: {out_folder(config) / 'report.html'}")


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(EvaluateConfig)))
