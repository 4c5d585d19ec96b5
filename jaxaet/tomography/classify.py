"""Which element each atom is, from how brightly it scatters."""

import numpy as np
from jaxtyping import Float, Int

_SPREAD = 0.15  # of log(weight) around what an element weighs
_EXPONENTS = np.linspace(0.6, 1.3, 15)  # the table's contrast of elements, to this power, may be that of the detector
_DOUBT = 0.6  # standard deviation of that power from 1
_BIN = 0.03  # of log(weight)
_NEAR = 0.4  # of log(weight), farther from every element is none of them


def species_weights(
    weights: Float[np.ndarray, " n"], expected: Float[np.ndarray, " s"], doubt: float = np.inf
) -> Float[np.ndarray, " s"]:
    """What an atom of each species scatters in this data, (s,).

    `weights`: what each atom scatters. `expected`: what one atom of each species should, up to a power near 1 and to a
    common factor whose logarithm has the standard deviation `doubt`; 0 takes `expected` as it is. Those with which most
    atoms weigh what an element does are found, so atoms that do not exist, or stand for two, have no say; then the
    median of each element's atoms.
    """
    expected = np.asarray(expected, dtype=float)
    if doubt == 0 or not (weights > 0).any():
        return expected
    logs = np.log(weights[weights > 0])
    bins = np.arange(np.percentile(logs, 0.5), logs.max() + _BIN, _BIN)
    count = np.histogram(logs, np.append(bins, bins[-1] + _BIN) - 0.5 * _BIN)[0]
    relative = np.log(expected / expected.max())
    best, found = -np.inf, relative
    for exponent in _EXPONENTS:
        places = bins[:, None] + exponent * relative  # of each element, if the brightest one is at each bin
        distance = np.min(np.abs(bins[None, :, None] - places[:, None]), axis=2)
        factor = np.mean(places - np.log(expected), axis=1)
        likely = np.exp(-0.5 * (((exponent - 1) / _DOUBT) ** 2 + (factor / doubt) ** 2))
        support = np.exp(-0.5 * (distance / _SPREAD) ** 2) @ count * likely
        if support.max() > best:
            best, found = support.max(), places[support.argmax()]
    nearest = np.argmin(np.abs(logs[:, None] - found), axis=1)
    close = np.abs(logs - found[nearest]) < _NEAR
    of_each = [logs[close & (nearest == index)] for index in range(len(found))]
    return np.exp([np.median(own) if len(own) else alone for own, alone in zip(of_each, found, strict=True)])


def classify(weights: Float[np.ndarray, " n"], typical: Float[np.ndarray, " s"]) -> Int[np.ndarray, " n"]:
    """The species of each atom, (n,): that of the nearest `typical` weight, (s,), in log(weight)."""
    logs = np.log(np.maximum(weights, 1e-6 * np.max(weights)))
    return np.argmin(np.abs(logs[:, None] - np.log(typical)), axis=1)
