#!/usr/bin/env bash
# numba 0.68.1: NUMBA_BOUNDSCHECK=1 checks nothing in a function that was cached without it, and says nothing.
#
# The cache of `@njit(cache=True)` finds compiled code by the signature, the processor and the function's own bytes.
# What the environment says of how to compile is no part of that: bounds checks, the level of optimization, debugging.
# So a test run with NUMBA_BOUNDSCHECK=1 loads yesterday's unchecked code and passes. The other way round a run without
# the variable goes on with the slow, checked code that a debugging run has left.
#
# Output seen, for a read of place 7 of a view of 5 of 10 numbers:
#   not cached                   IndexError: index is out of bounds
#   cached by a run without it   7, as if nothing were wrong
#
# Why it matters: kernels of image loaders read by computed places, and this variable is how one proves that none lies
# outside. With a cache that proof is empty.
#
# Where: numba/core/caching.py, Cache._index_key; numba/core/config.py reads the variable.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check numba==0.68.1 numpy==2.4.6
cat > "$work/probe.py" <<'PY'
import sys

import numba
import numpy as np


@numba.njit(cache=True)
def at(row, place):
    return row[place]


try:
    print(at(np.arange(10)[:5], int(sys.argv[1])))  # place 7 is within the ten numbers, and beyond the view
except IndexError as error:
    print(f"IndexError: {error}")
PY
run() { "$work/venv/bin/python" "$work/probe.py" "$1"; }
not_cached=$(NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR="$work/first" run 7)
NUMBA_CACHE_DIR="$work/second" run 3 >/dev/null
cached=$(NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR="$work/second" run 7)
NUMBA_CACHE_DIR="$work/first" run 3 >/dev/null
stays=$(NUMBA_CACHE_DIR="$work/first" run 7)
echo "numba 0.68.1, a read of place 7 of 5"
echo "expected with NUMBA_BOUNDSCHECK=1: IndexError; without it none"
echo "happened: not cached $not_cached; cached without it $cached; cached with it, run without it $stays"
[[ $not_cached == "IndexError: index is out of bounds" ]]
[[ $cached == 7 ]]
[[ $stays == "IndexError: index is out of bounds" ]]
