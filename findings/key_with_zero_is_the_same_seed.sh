#!/usr/bin/env bash
# NumPy 2.4.6: default_rng(7), default_rng((7, 0)) and default_rng((7, 0, 0)) are one stream.
#
# `SeedSequence` cuts the key into words of 32 bits and fills its pool of four words with zeros, so zeros at the end
# of a key of up to four words change nothing. Neither length nor nesting is mixed in, so (7, 5) is also the integer 5
# * 2**32 + 7. With five words the stream is another. `SeedSequence.spawn` takes care of it (it pads before it adds
# the spawn key), a key that one puts together oneself does not.
#
# Output seen: first draw 10 of 7, (7,), (7, 0), (7, 0, 0), (7, 0, 0, 0) all equal; (7, 0, 0, 0, 0) differs; (7, 5)
# equals 5 * 2**32 + 7.
#
# Why it matters: (seed, epoch) and (seed, epoch, sample) are the advised keys instead of seed + epoch. Counting
# starts at 0, so the draws of epoch 0 are those of sample 0 of epoch 0, and of whatever was drawn from the plain
# seed, such as the choice of the validation samples or the first weights. Streams that were meant to be independent
# are equal.
#
# Where: numpy/random/bit_generator.pyx, SeedSequence.mix_entropy and _coerce_to_uint32_array.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq --no-compile --disable-pip-version-check numpy==2.4.6
cat > "$work/probe.py" <<'PY'
import numpy as np


def draw(key):
    return np.random.default_rng(key).permutation(1000).tolist()


plain = draw(7)
same = [key for key in [(7,), (7, 0), (7, 0, 0), (7, 0, 0, 0)] if draw(key) == plain]
five = draw((7, 0, 0, 0, 0)) == plain
packed = draw((7, 5)) == draw(5 * 2**32 + 7)
other = draw((7, 1)) == plain

print("NumPy", np.__version__)
print("expected: a permutation of its own for each key")
print(f"happened: the permutation of 7 is also that of {same}")
print(f"          of (7, 0, 0, 0, 0): {five}; of (7, 1): {other}; (7, 5) is that of 5 * 2**32 + 7: {packed}")
assert same == [(7,), (7, 0), (7, 0, 0), (7, 0, 0, 0)], same
assert packed and not five and not other
PY
"$work/venv/bin/python" "$work/probe.py" "$work"
