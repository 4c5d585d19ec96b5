"""Whether some sites of a moiré are preferred: densities with their spread, and tests with a planted preference."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, Key
from scipy import stats

from jaxaet.core import InputError
from jaxaet.specimen.generator import host_generator


class PreferenceTests(NamedTuple):
    """Two-sample tests of chosen against other sites; `chi_squared` and `distance` are dimensionless.

    `chi_squared` with `chi_squared_p`: of counts in `bins` classes that hold equally many of both samples together.
    `distance` with `distance_p`: of Kolmogorov and Smirnov. A small p says that the sites were chosen by their value.
    """

    chi_squared: float
    chi_squared_p: float
    distance: float
    distance_p: float
    bins: int


def preference_tests(
    chosen: Float[np.ndarray, " n"], others: Float[np.ndarray, " m"], bins: int = 12
) -> PreferenceTests:
    """Whether `chosen` sites have other values than `others`, Å, by χ² and by Kolmogorov and Smirnov.

    Classes of equal counts keep every expected count large enough for χ², which the 60 classes of equal width of the
    published code do not. Raises `InputError` for fewer than five sites for each class in either sample.
    """
    if min(len(chosen), len(others)) < 5 * bins:
        raise InputError(
            f"{len(chosen)} chosen and {len(others)} other sites are too few for {bins} classes; "
            f"give at least {5 * bins} of each, or fewer bins."
        )
    edges = np.quantile(np.concatenate([chosen, others]), np.linspace(0, 1, bins + 1))[1:-1]
    counts = np.array([np.bincount(np.searchsorted(edges, values), minlength=bins) for values in (chosen, others)])
    squared = stats.chi2_contingency(counts[:, counts.sum(axis=0) > 0], correction=False)
    results = np.array([result[:2] for result in (squared, stats.ks_2samp(chosen, others))], float)
    (chi_squared, chi_squared_p), (distance, distance_p) = results.tolist()
    return PreferenceTests(chi_squared, chi_squared_p, distance, distance_p, bins)


def bootstrap_density(
    key: Key[Array, ""],
    values: Float[np.ndarray, " n"],
    at: Float[np.ndarray, " m"],
    bandwidth: float = 0.1,
    draws: int = 1000,
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """A density by Gaussian kernels, 1/Å, and its standard deviation over samples drawn with replacement.

    `values`, `at` and `bandwidth`: Å. The values are first counted in bins a tenth of the bandwidth wide, so that a map
    of a million pixels costs as little as a hundred columns. Bandwidth and draws are those of Houston et al. (2025).
    Raises `InputError` without values.
    """
    if not len(values):
        raise InputError("There are no values to take a density of; give those of one site at least.")
    bins = np.rint(values / (0.1 * bandwidth)).astype(int)
    places, counts = np.unique(bins, return_counts=True)
    drawn = host_generator(key).multinomial(len(values), counts / len(values), draws) / len(values)
    curves = drawn @ stats.norm.pdf(at[None], 0.1 * bandwidth * places[:, None], bandwidth)
    return curves.mean(axis=0), curves.std(axis=0)


def planted_sites(
    key: Key[Array, ""],
    values: Float[np.ndarray, " n"],
    count: int,
    preference: float = 2.5,
    between: tuple[float, float] = (1.0, 1.5),
) -> Int[np.ndarray, " count"]:
    """Which of the sites are taken when those with a value in a range are `preference` times as likely as the others.

    A positive control for the tests, or with a preference of 1 sites at random. `values` and `between`: Å;
    `preference`: ratio. Raises `InputError` where more sites are to be taken than there are.
    """
    if count > len(values):
        raise InputError(f"{count} sites are to be taken of {len(values)}; take no more than there are.")
    weights = np.where((values >= between[0]) & (values <= between[1]), preference, 1.0)
    return host_generator(key).choice(len(values), count, replace=False, p=weights / weights.sum())
