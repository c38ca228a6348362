"""The scripts that run as jobs, and behind them what uses Ray, torch.distributed and a browser.

A script says how it is launched, parses its options, calls one function and prints.
"""

if __name__ == "jobs":  # two copies of each class and kernel would live in one process
    raise ImportError("import imagefeed.jobs: this folder is a part of the package imagefeed")
