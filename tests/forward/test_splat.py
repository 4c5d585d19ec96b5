"""Sums of Gaussians by tiles are those over whole images, wherever the atoms lie and whether or not they fit."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from strategies import arrays

from jaxaet.forward import Dense, Tiled
from jaxaet.forward.splat import NEGLIGIBLE, reach_of

SHAPE = (45, 70)


def gaussians(n: int, seed: int = 0, margin: float = 40.0) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Points up to `margin` pixels outside the image; weights with a small negative part, as a fit may give."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-margin, np.array(SHAPE[::-1]) + margin, (n, 2))
    weights = rng.uniform(0.5, 1.0, (n, 1)) * np.array([[1.0, -0.05]])
    return tuple(jnp.asarray(x) for x in (points, weights, rng.uniform(1.0, 4.0, (n, 2))))


@partial(jax.jit, static_argnums=0)
def draw(splat, points, weights, variances):
    return splat(points, weights, variances, SHAPE)


@partial(jax.jit, static_argnums=0)
def pull(splat, cotangent, *arguments):
    return jax.vjp(partial(splat, shape=SHAPE), *arguments)[1](cotangent)


def brute_force(points, weights, variances) -> np.ndarray:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = np.zeros(SHAPE)
    for (column, row), atom_weights, atom_variances in zip(points, weights, variances, strict=True):
        for weight, variance in zip(atom_weights, atom_variances, strict=True):
            image += weight * np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * variance))
    return image


def plan(points, weights, variances) -> Tiled:
    return Tiled.plan(np.asarray(points)[None], float(reach_of(weights, variances)), SHAPE)


@pytest.mark.parametrize("n", [0, 1, 13])
def test_dense_is_brute_force(n):
    sums = gaussians(n)
    np.testing.assert_allclose(draw(Dense(), *sums), brute_force(*sums), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [0, 1, 13, 97])
def test_tiles_are_brute_force_up_to_what_is_negligible(n):
    """Each atom may lack two Gaussians of which each is below `NEGLIGIBLE` of its peak."""
    sums = gaussians(n)
    error = np.abs(draw(plan(*sums), *sums) - brute_force(*sums))
    assert error.max() <= NEGLIGIBLE


@given(points=arrays((7, 2), -30.0, 100.0))
def test_every_atom_near_the_image_is_on_a_tile(points):
    """No place, on an edge of a tile or of the image or outside, loses more of an atom than is negligible."""
    _, weights, variances = gaussians(7)
    roomy = Tiled(size=32, tiles=12, slots=7)
    error = np.abs(draw(roomy, jnp.asarray(points), weights, variances) - brute_force(points, weights, variances))
    assert error.max() <= 7 * NEGLIGIBLE


@pytest.mark.parametrize(
    "splat", [Tiled(24, tiles=1, slots=40), Tiled(24, tiles=12, slots=1), Tiled(8, tiles=200, slots=40)]
)
def test_what_does_not_fit_the_tiles_is_still_right(splat):
    """Too few tiles, too few slots, tiles smaller than an atom: image and gradient are then those of `Dense`."""
    sums = gaussians(31)
    cotangent = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE))
    np.testing.assert_allclose(draw(splat, *sums), draw(Dense(), *sums), rtol=1e-12, atol=1e-14)
    for found, expected in zip(pull(splat, cotangent, *sums), pull(Dense(), cotangent, *sums), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_gradients_of_tiles_are_those_of_the_whole():
    sums = gaussians(97)
    cotangent = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE))
    for found, expected in zip(pull(plan(*sums), cotangent, *sums), pull(Dense(), cotangent, *sums), strict=True):
        assert 0 < np.abs(found - expected).max() < 30 * NEGLIGIBLE * np.abs(expected).max()


def test_a_plan_has_room_for_atoms_to_move():
    """A tenth of a pixel here or there neither drops an atom nor falls back."""
    sums = gaussians(97)
    tiles = plan(*sums)
    moved = sums[0] + jnp.asarray(np.random.default_rng(1).uniform(-0.1, 0.1, sums[0].shape))
    difference = np.abs(draw(tiles, moved, *sums[1:]) - brute_force(moved, *sums[1:])).max()
    assert 1e-12 < difference <= NEGLIGIBLE


@given(share=st.floats(1e-3, 1.0), variance=st.floats(0.5, 50.0))
def test_reach_is_where_a_gaussian_becomes_negligible(share, variance):
    weights, variances = jnp.array([[1 - share, share]]), jnp.array([[0.1, variance]])
    reach = float(reach_of(weights, variances))
    narrow = (1 - share) * np.exp(-(reach**2) / 0.2)
    assert max(share * np.exp(-(reach**2) / (2 * variance)), narrow) == pytest.approx(NEGLIGIBLE, rel=1e-6)
