"""The command line as tyro sees it: one application that the subcommands register with."""

import tyro

app = tyro.extras.SubcommandApp()
