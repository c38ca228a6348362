"""`python -m imagefeed` is the command `imagefeed`."""

from imagefeed.jobs.cli.main import main

main()
