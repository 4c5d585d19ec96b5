"""What of a density of states a mixture of bulk crystals does not explain."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

Densities = Float[Array, "r e"] | Float[np.ndarray, "r e"]


class BulkFit(NamedTuple):
    """The best mixture of bulk densities and what is left.

    `shares`: (r,) of each reference, not negative. `residual`: (e,) density less mixture. `relative`: norm of the
    residual over that of the density.
    """

    shares: Float[np.ndarray, " r"]
    residual: Float[np.ndarray, " e"]
    relative: float


def bulk_fit(density: Float[Array, " e"] | Float[np.ndarray, " e"], references: Densities) -> BulkFit:
    """Non-negative least squares of a density (e,) by references (r, e) on the same energies."""
    from scipy.optimize import nnls

    density, references = np.asarray(density, float), np.asarray(references, float)
    shares, _ = nnls(references.T, density)
    residual = density - shares @ references
    return BulkFit(shares, residual, float(np.linalg.norm(residual) / np.linalg.norm(density)))


class Peak(NamedTuple):
    """A maximum: its `energy` in meV, its `height` in the curve's unit, and its `prominence`, how far it stands out."""

    energy: float
    height: float
    prominence: float


def peaks(
    energies: Float[np.ndarray, " e"], curve: Float[Array, " e"] | Float[np.ndarray, " e"], prominence: float
) -> list[Peak]:
    """The positive maxima of a curve on evenly spaced `energies` (meV) that stand out by at least `prominence`.

    Positions are those of the parabola through the three highest points.
    """
    from scipy.signal import find_peaks

    energies, curve = np.asarray(energies, float), np.asarray(curve, float)
    found, properties = find_peaks(curve, height=0.0, prominence=prominence)
    left, top, right = curve[found - 1], curve[found], curve[found + 1]
    shift = 0.5 * (left - right) / (left - 2 * top + right)
    places = energies[found] + shift * (energies[1] - energies[0])
    return [Peak(*map(float, row)) for row in zip(places, top, properties["prominences"], strict=True)]
