"""What a layer consists of, by counting its columns and by its lattice constant."""

import numpy as np
from jaxtyping import Bool, Float

from jaxaet.core import InputError


def substituted_fraction(host: Bool[np.ndarray, " n"], guest: Bool[np.ndarray, " n"]) -> tuple[float, float]:
    """The fraction of substituted atoms in columns of two, and its standard error by counting.

    `host`, `guest`: for each column, whether it holds an atom of either kind; with both it is half substituted. Se in
    WS2 counts (n_both + 2 n_Se) / 2 n. Where each column holds one S at least, this is n_Se / 2 n_S.
    Raises `InputError` without a column, and for columns that hold neither.
    """
    empty = np.count_nonzero(~(host | guest))
    if empty or not len(host):
        raise InputError(f"{empty} of {len(host)} columns hold neither atom; give columns that hold one or both.")
    fraction = float((0.5 * guest + 0.5 * (guest & ~host)).mean())
    return fraction, float(np.sqrt(fraction * (1 - fraction) / (2 * len(host))))


def vegard_lattice(fraction: float | Float[np.ndarray, " n"], ends: tuple[float, float]):
    """The lattice constant of an alloy by Vegard's law, Å, linear between those of `ends`, Å.

    `fraction` of the second, dimensionless. Houston et al. (2025) take 3.15 Å for WS2 and 3.24 Å for WSSe, half way to
    WSe2.
    """
    return ends[0] + (ends[1] - ends[0]) * fraction


def vegard_fraction(lattice: float | Float[np.ndarray, " n"], ends: tuple[float, float]):
    """The fraction of the second end by Vegard's law, dimensionless; `lattice` and those of the `ends`: Å."""
    return (lattice - ends[0]) / (ends[1] - ends[0])
