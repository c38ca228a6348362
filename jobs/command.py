"""The command `imagefeed` as it is installed: the subcommands of pipeline/, and `predict`, which needs a net.

`python -m pipeline` is the same without it: pipeline/ knows of no model.
"""

from pipeline import cli, cli_look, cli_make


def main() -> None:
    """The console script."""
    from jobs import predict  # after the others, which come first in the help

    assert cli_make and cli_look and predict
    cli.main()
