"""The random numbers for a transform of one's own: functions of (seed, epoch, sample id, which draw), without state.

`draw(seed, epoch, sample_id, OWN, turn)` gives four random words, `OWN + 1`, ... up to 255 four others each; `below`,
`unit` and `normals` make numbers of them. All are compiled by Numba and may be called from compiled code.
"""

from imagefeed.pipeline.sampling.rng import OWN, below, draw, normals, unit

__all__ = ["OWN", "below", "draw", "normals", "unit"]
