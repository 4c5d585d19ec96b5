"""Counting noise: its mean, its variance and its lack of correlation, and that a key decides it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxaet.core import Grid, Images
from jaxaet.forward import count

DRAWS = 4000
MEAN = np.array([-2.0, 0.0, 0.3, 2.0, 9.0, 300.0])
LIT = MEAN > 0


@jax.jit
def draw(keys, readout) -> jax.Array:
    images = Images(MEAN.reshape(1, 2, 3), jnp.zeros((1, 3)), Grid((2, 3), 0.3))
    return jax.vmap(lambda key: count(images, key, readout).data.ravel())(keys)


@pytest.fixture(scope="module", params=[0.0, 1.5])
def drawn(request) -> tuple[float, np.ndarray]:
    return request.param, np.asarray(draw(jax.random.split(jax.random.key(0), DRAWS), request.param))


def test_the_mean_is_that_of_the_images(drawn):
    readout, counts = drawn
    expected = np.maximum(MEAN, 0.0)
    error = np.sqrt((expected + readout**2) / DRAWS)
    assert (np.abs(counts.mean(axis=0) - expected) <= 5 * error).all()


def test_the_variance_is_the_mean_and_the_read_out(drawn):
    """A Poisson variance estimated from n draws has variance (mu + 2 (mu + r²)²) / n and nearly that with read-out."""
    readout, counts = drawn
    shot = np.maximum(MEAN, 0.0)
    expected = shot + readout**2
    error = np.sqrt((shot + 2 * expected**2) / DRAWS)
    assert (np.abs(counts.var(axis=0) - expected) <= 5 * error).all()


def test_pixels_are_not_correlated(drawn):
    _, counts = drawn
    correlation = np.corrcoef(counts[:, LIT].T)[np.triu_indices(LIT.sum(), 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(DRAWS)


def test_draws_are_not_correlated(drawn):
    _, counts = drawn
    scaled = (counts[:, LIT] - counts[:, LIT].mean(axis=0)) / counts[:, LIT].std(axis=0)
    assert np.abs((scaled[1:] * scaled[:-1]).mean(axis=0)).max() < 5 / np.sqrt(DRAWS)


def test_only_the_read_out_makes_counts_fractions_and_darkness_bright(drawn):
    readout, counts = drawn
    assert (counts == np.round(counts)).all() == (readout == 0)
    assert (counts[:, ~LIT] == 0).all() == (readout == 0)


def test_a_key_decides_the_draw(drawn):
    readout, counts = drawn
    again, other = (draw(jax.random.split(jax.random.key(seed), DRAWS), readout) for seed in (0, 1))
    assert (again == counts).all()
    assert (other != counts).any()


def test_angles_and_grid_are_kept():
    images = Images(jnp.ones((2, 3, 4)), jnp.ones((2, 3)), Grid((3, 4), 0.7))
    noisy = count(images, jax.random.key(0))
    assert eqx.tree_equal(noisy, eqx.tree_at(lambda i: i.data, images, noisy.data))
