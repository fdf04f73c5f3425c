"""Draws that are functions of what they are for: a hash of seed, step, row and position, and no generator's state.

So a draw is the same however rows are batched, ordered or spread over processes, and nothing has to be saved to resume.
"""

import numpy as np
from jaxtyping import Float, Int, UInt64
from numpy import ndarray

_WORD = (1 << 64) - 1


def token_hash(
    identity: Int[ndarray, "*N"], position: Int[ndarray, "*N"], key: tuple[int, int]
) -> UInt64[ndarray, "*N"]:
    """A 64-bit hash of (seed, step, row_id, position) for every token: SplitMix64 folded over the four words.

    On the CPU in unsigned integers, so that every device and every rank gets the same bits.
    """
    run_seed, step = (np.array([word & _WORD], dtype=np.uint64) for word in key)
    begin = mix(mix(run_seed) ^ step)
    return mix(mix(begin ^ identity.astype(np.uint64)) ^ position.astype(np.uint64))


def mix(word: UInt64[ndarray, "*N"]) -> UInt64[ndarray, "*N"]:
    """One output of SplitMix64 from state ``word`` (Steele, Lea and Flood 2014, doi:10.1145/2714064.2660195).

    >>> hex(mix(np.array([0], dtype=np.uint64))[0])                   # the generator's published first output
    '0xe220a8397b1dcdaf'
    """
    word = word + np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def uniform(identity: Int[ndarray, "*N"], position: Int[ndarray, "*N"], key: tuple[int, int]) -> Float[ndarray, "*N"]:
    """Uniform numbers in (0, 1), float64, from the upper 52 bits of ``token_hash``; neither end is ever drawn.

    >>> uniform(np.array([7]), np.array([0]), (1, 2)) == uniform(np.array([3, 7]), np.array([0, 0]), (1, 2))[1]
    array([ True])
    """
    return ((token_hash(identity, position, key) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
