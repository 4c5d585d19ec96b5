"""The normal matrix from windows is the one of the whole problem."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inverse_cases import problem, truth

from jaxaet.core import Grid
from jaxaet.forward import Linear
from jaxaet.instrument import StageVibration
from jaxaet.inverse.normal import normal_matrix

# Windows leave out what an atom adds beyond its reach; twice the reach leaves out nothing to speak of.
REACH = 2 * float(eqx.filter_jit(Linear().reach)(truth().atoms, truth().microscope))
CHOSEN = [
    ("positions",),
    ("composition", "positions", "u2"),
    ("scale", "species_u2", "positions", "angles", "shifts", "offset"),
]


def flat(packed) -> np.ndarray:
    return np.concatenate([np.asarray(value).ravel() for value in packed.values()])


@eqx.filter_jit
def curvature(problem, packed):
    """Jᵀ W J v by one forward and one backward derivative of all images."""
    mean, push = jax.linearize(problem.mean, problem.leaves)
    information = problem.likelihood.information(mean)
    return problem.pack(jax.linear_transpose(push, problem.leaves)(information * push(problem.unpack(packed)))[0])


def assert_adds_up(chosen):
    """The matrix from windows times random vectors is the product with the whole problem; returns the matrix."""
    matrix = normal_matrix(chosen, REACH)
    packed = chosen.pack(chosen.leaves)
    rng = np.random.default_rng(0)
    scale = 1 / np.sqrt(np.diagonal(matrix))
    for _ in range(3):
        v = rng.normal(size=scale.size) * scale
        edges = np.cumsum([value.size for value in packed.values()])[:-1]
        parts = zip(packed.items(), np.split(v, edges), strict=True)
        tangent = {kind: jnp.asarray(part.reshape(value.shape)) for (kind, value), part in parts}
        expected = flat(curvature(chosen, tangent)) * scale
        np.testing.assert_allclose((matrix @ v) * scale, expected, atol=1e-6 * np.abs(expected).max())
    return matrix


@pytest.mark.parametrize("names", CHOSEN)
def test_the_windows_add_up_to_the_whole(names):
    assert_adds_up(problem(names))


def test_the_windows_add_up_where_atoms_vibrate():
    still = problem(CHOSEN[2])
    vibration = StageVibration(np.linspace(0, 2, 7), np.linspace(0, 0.4, 7), 0.1)
    model = eqx.tree_at(lambda m: m.microscope.vibration, still.model, vibration, is_leaf=lambda leaf: leaf is None)
    matrix = assert_adds_up(dataclasses.replace(still, model=model))
    assert np.abs(matrix - normal_matrix(still, REACH)).max() > 1e-3 * np.abs(matrix).max()


@pytest.mark.parametrize("names", CHOSEN)
def test_it_is_symmetric_and_nowhere_negative(names):
    matrix = normal_matrix(problem(names), REACH)
    scaled = matrix / np.sqrt(np.diagonal(matrix)[:, None] * np.diagonal(matrix))
    np.testing.assert_allclose(scaled, scaled.T, atol=1e-10)
    assert np.linalg.eigvalsh(scaled).min() > -1e-8


def test_turning_the_whole_specimen_and_its_tilts_is_free():
    """The gauge: three turns and three moves of specimen and images together cost nothing, and nothing else is free."""
    matrix = normal_matrix(problem(CHOSEN[2], disturbed=False), REACH)
    scaled = matrix / np.sqrt(np.diagonal(matrix)[:, None] * np.diagonal(matrix))
    values = np.linalg.eigvalsh(scaled)
    assert values[5] < 1e-6 < 1e-4 < values[6]


def test_dark_pixels_tell_the_offset():
    """Most of a wide image lies beyond the reach of any atom, and each of its pixels counts."""
    chosen = problem(("offset",), disturbed=False)
    wide = eqx.tree_at(lambda m: m.microscope.grid, chosen.model, Grid((112, 96), 0.32), is_leaf=is_grid)
    data = eqx.filter_jit(Linear())(wide.atoms, wide.microscope)
    matrix = normal_matrix(dataclasses.replace(chosen, model=wide, data=data), REACH / 2)
    np.testing.assert_allclose(matrix, np.diag((1 / np.asarray(data.data)).sum(axis=(1, 2))), rtol=1e-10)


def is_grid(node) -> bool:
    return isinstance(node, Grid)
