#!/usr/bin/env bash
# numba 0.68.1: an unsigned 64-bit number and a signed one give a signed one, so a hash changes its remainder and
# sign.
#
# NumPy 2 keeps `np.uint64(h) ^ 1` unsigned. Numba types each plain integer as int64, and uint64 with int64 is int64
# for + - * ^ & | % //. Only shifts keep the left type. The bits survive addition and xor, so it shows later: in %,
# //, comparison, and conversion to float. Where a variable is uint64 before a loop and int64 after one turn, the two
# are unified to float64, and the low bits are gone. All compile without a warning.
#
# Output seen for h = 2**63 + 5:
#   h % 7                NumPy 6      numba 4
#   (h ^ 1) * 2.0**-64   NumPy 0.5    numba -0.5 (meant to be a number from 0 to 1)
#   for i in range(5): h = h + i    Python 2**63 + 15    numba 9.223372036854776e+18, a float
#
# Why it matters: shuffling and augmentation by counter hash a key (seed, epoch, sample) and take a remainder or a
# fraction. The compiled loader then puts samples in other shards than its NumPy twin, or draws crops at negative
# places, for the half of the keys whose top bit is set; small test keys agree.
#
# Where: numba/core/typing/builtins.py, integer_binop_cases and choose_result_int; the docs call it NBEP 1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check numba==0.68.1 numpy==2.4.6
cat > "$work/probe.py" <<'PY'
import numba
import numpy as np


def bucket(h):
    return h % 7


def uniform(h):
    return (h ^ 1) * 2.0**-64


def add(h, n):
    for i in range(n):
        h = h + i
    return h


h = np.uint64(2**63 + 5)
compiled = {each.__name__: numba.njit(each) for each in (bucket, uniform, add)}
numpy_bucket, numba_bucket = bucket(h), compiled["bucket"](h)
numpy_uniform, numba_uniform = uniform(h), compiled["uniform"](h)
exact, added = add(int(h), 5), compiled["add"](h, 5)

print("numba", numba.__version__, "NumPy", np.__version__)
print(f"expected, as without @njit: h % 7 is {numpy_bucket}, (h ^ 1) * 2.0**-64 is {numpy_uniform}, the sum is {exact}")
print(f"happened: {numba_bucket}, {numba_uniform}, {added!r}")
assert (numpy_bucket, numba_bucket) == (6, 4)
assert (numpy_uniform, numba_uniform) == (0.5, -0.5)
assert type(added) is float and exact == 2**63 + 15 and int(added) != exact
PY
"$work/venv/bin/python" "$work/probe.py" "$work"
