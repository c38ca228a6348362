"""`python -m pipeline` is the command `imagefeed`."""

from pipeline.cli import main

main()
