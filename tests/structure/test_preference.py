"""A preference that was put in is found, one that was not is found as often as the p value says, and no more."""

import jax
import numpy as np
import pytest
from scipy.stats import gaussian_kde

from jaxaet.core import InputError
from jaxaet.structure import bootstrap_density, planted_sites, preference_tests

SITES = np.random.default_rng(0).uniform(0, 2.6, 3000)


def trial(seed, preference):
    chosen = planted_sites(jax.random.key(seed), SITES, 333, preference)
    return preference_tests(SITES[chosen], np.delete(SITES, chosen))


def test_without_a_preference_p_is_uniform():
    found = [trial(seed, 1.0) for seed in range(300)]
    for p in (np.array([t.chi_squared_p for t in found]), np.array([t.distance_p for t in found])):
        assert 0.01 < np.mean(p < 0.05) < 0.09
        assert 0.42 < np.mean(p < 0.5) < 0.58


def test_a_preference_of_two_and_a_half_is_found():
    found = [trial(seed, 2.5) for seed in range(50)]
    assert np.mean([t.chi_squared_p < 0.01 for t in found]) > 0.95


def test_sites_of_the_range_are_taken_as_often_as_asked():
    inside = (SITES >= 1.0) & (SITES <= 1.5)
    taken = np.concatenate([planted_sites(jax.random.key(seed), SITES, 30) for seed in range(300)])
    ratio = inside[taken].mean() / (~inside)[taken].mean() * (~inside).sum() / inside.sum()
    assert ratio == pytest.approx(2.5, rel=0.06)


def test_the_density_is_that_of_scipy_and_its_spread_falls_with_the_root_of_the_count():
    values, at = np.random.default_rng(1).normal(1.5, 0.4, 400), np.linspace(0.5, 2.5, 21)
    mean, spread = bootstrap_density(jax.random.key(0), values, at)
    reference = gaussian_kde(values, 0.1 / values.std(ddof=1))(at)
    np.testing.assert_allclose(mean, reference, atol=0.02)
    _, narrow = bootstrap_density(jax.random.key(0), np.tile(values, 4), at)
    assert (spread / narrow).mean() == pytest.approx(2, rel=0.05)


def test_too_few_sites_are_refused():
    with pytest.raises(InputError, match="20 chosen and 500 other sites are too few"):
        preference_tests(SITES[:20], SITES[-500:])
    with pytest.raises(InputError, match="5 sites are to be taken of 4"):
        planted_sites(jax.random.key(0), SITES[:4], 5)
    with pytest.raises(InputError, match="no values"):
        bootstrap_density(jax.random.key(0), np.zeros(0), SITES)
