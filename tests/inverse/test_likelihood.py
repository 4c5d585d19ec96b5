"""Likelihoods: zero for a perfect fit, the right slope, and no trap where a trial mean is negative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import norm, poisson

from jaxaet.inverse import Gaussian, Poisson

FLOOR = 0.05
likelihood = Poisson(FLOOR)


def on_numbers(function):
    """The jitted function of two numbers, as one that takes and gives Python's."""
    jitted = jax.jit(function)
    return lambda mean, count: float(jitted(jnp.asarray(mean), jnp.asarray(count)))


def pixel(mean, count):
    return likelihood.loss(mean, count)


loss, slope, curvature = (on_numbers(f) for f in (pixel, jax.grad(pixel), jax.grad(jax.grad(pixel))))
counts = st.one_of(st.integers(0, 2000).map(float), st.floats(0, 2000))
means = st.floats(FLOOR, 3000)


@given(count=st.floats(FLOOR, 3000))
def test_a_perfect_fit_costs_nothing(count):
    assert loss(count, count) == pytest.approx(0, abs=1e-12)
    assert slope(count, count) == pytest.approx(0, abs=1e-12)


@given(mean=means, count=counts)
def test_the_slope_is_one_minus_data_over_mean(mean, count):
    assert slope(mean, count) == pytest.approx(1 - count / mean, rel=1e-9, abs=1e-9)
    assert loss(mean, count) >= -1e-9


@given(means=st.tuples(means, means), count=st.integers(0, 2000))
def test_differences_are_those_of_the_log_probability(means, count):
    expected = poisson.logpmf(count, means[0]) - poisson.logpmf(count, means[1])
    assert loss(means[1], float(count)) - loss(means[0], float(count)) == pytest.approx(expected, abs=1e-7)


@given(count=st.one_of(counts, st.floats(-50, 0)))
def test_the_continuation_joins_smoothly(count):
    step = 1e-9 * FLOOR
    for value in (loss, slope):
        below, above = (value(FLOOR + side * step, count) for side in (-1, 1))
        assert below == pytest.approx(above, rel=1e-6, abs=1e-6)


@given(mean=st.floats(-1e3, FLOOR), count=st.one_of(counts, st.floats(-50, 0)))
def test_below_the_floor_one_newton_step_leads_to_the_data(mean, count):
    assert np.isfinite(loss(mean, count))
    newton = mean - slope(mean, count) / float(likelihood.information(jnp.asarray(mean)))
    assert newton == pytest.approx(count, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("mean", [0.3, 4.0, 60.0])
def test_information_is_the_expected_curvature(mean):
    """And the variance of the slope: Fisher's identity, summed over every count that matters."""
    count = np.arange(400.0)
    probability = poisson.pmf(count, mean)
    curvatures, slopes = (np.array([f(mean, c) for c in count]) for f in (curvature, slope))
    assert float(likelihood.information(jnp.asarray(mean))) == pytest.approx(probability @ curvatures, rel=1e-9)
    assert float(likelihood.information(jnp.asarray(mean))) == pytest.approx(probability @ slopes**2, rel=1e-9)


@given(mean=st.floats(-100, 100), count=st.floats(-100, 100), sigma=st.floats(0.1, 10))
def test_gaussian_is_the_log_density(mean, count, sigma):
    gaussian = Gaussian(sigma)
    expected = norm.logpdf(count, count, sigma) - norm.logpdf(count, mean, sigma)
    assert float(gaussian.loss(jnp.asarray(mean), jnp.asarray(count))) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(gaussian.information(jnp.ones((2, 3))), np.full((2, 3), sigma**-2.0))
