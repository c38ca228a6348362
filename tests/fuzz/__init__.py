"""A fuzzer over everything that is read: shards, tables, manifests, JPEGs. How it is used: docs/fuzzing.md.

    python -m tests.fuzz --cases 100000 --seed 0        a long run
    python -m tests.fuzz --first 4711 --cases 1         one case again

A case is a function of (seed, number): which target, which files of a good input are spoilt, and how. Cases run in
child processes, so that a crash or a hang ends one case, which is named, and not the run.
"""
