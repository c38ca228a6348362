"""Train AlexNet on shards, on one process or many.

    torchrun --standalone --nproc_per_node=8 jobs/train.py --data /data/imagenet-256 --out /runs/a  # 8 ranks here
    torchrun --standalone --nproc_per_node=8 jobs/train.py --out /runs/a --resume  # with the options that it began with

    torchrun --nnodes=2 --nproc_per_node=8 --rdzv_backend=c10d --rdzv_endpoint=HOST:29400 \
        jobs/train.py --data /data/imagenet-256 --out /runs/a           # the same command on each of two machines

    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 torchrun --nnodes=1:2 --max_restarts=9 --nproc_per_node=8 \
        --rdzv_backend=c10d --rdzv_endpoint=HOST:29400 \
        jobs/train.py --data /data/imagenet-256 --out /runs/a --resume  # goes on when one is lost, or comes back

    python jobs/train.py --data /data/imagenet-256 --out /runs/a        # one process
    torchrun --standalone --nproc_per_node=2 jobs/train.py              # the sample dataset, a minute on two CPUs

DATA holds the splits `train` and `val`; on several machines each sees them under the same path, and rank 0 alone
writes OUT. After each epoch comes validation on all ranks. A run that was stopped in any way continues with --resume
from OUT/checkpoint-last.pt, and on the same number of ranks and threads to the same weights, bit for bit (tested on
CPUs). A SIGTERM to any rank, or to torchrun, makes it save and end with status 75. torchrun itself ends with a status
of its own for every failure, 1 as a rule, whatever a rank's is. `tensorboard --logdir OUT` shows the curves.
"""

import os
import sys
from pathlib import Path

if not __package__:  # a script finds its own checkout: that of the submitted job, or the one it lies in
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from imagefeed.pipeline.runtime.command import run_command, script_part

with script_part("train"):
    from imagefeed.jobs.training.config import parse
    from imagefeed.jobs.training.train import main


def command() -> None:
    """The script: what `run_command` does not know of is handled here."""
    is_main = os.environ.get("RANK", "0") == "0"
    try:
        main(parse(sys.argv[1:], is_main=is_main))
    except FloatingPointError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        if is_main:
            raise
        sys.exit(130)  # the user hears of it once


if __name__ == "__main__":
    run_command(command)
