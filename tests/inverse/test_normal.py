"""The normal matrix from windows is the one of the whole problem."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inverse_cases import problem, truth

from jaxaet.forward import Linear
from jaxaet.inverse.normal import normal_matrix

REACH = float(eqx.filter_jit(Linear().reach)(truth().atoms, truth().microscope))
CHOSEN = [
    ("positions",),
    ("composition", "positions", "u2"),
    ("scale", "species_u2", "positions", "angles", "shifts", "offset", "source_size"),
]


def flat(packed) -> np.ndarray:
    return np.concatenate([np.asarray(value).ravel() for value in packed.values()])


@eqx.filter_jit
def curvature(problem, packed):
    """Jᵀ W J v by one forward and one backward derivative of all images."""
    mean, push = jax.linearize(problem.mean, problem.leaves)
    information = problem.likelihood.information(mean)
    return problem.pack(jax.linear_transpose(push, problem.leaves)(information * push(problem.unpack(packed)))[0])


@pytest.mark.parametrize("names", CHOSEN)
def test_the_windows_add_up_to_the_whole(names):
    """Windows leave out what an atom adds beyond its reach; twice the reach leaves out nothing to speak of."""
    chosen = problem(names)
    matrix = normal_matrix(chosen, 2 * REACH)
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


@pytest.mark.parametrize("names", CHOSEN)
def test_it_is_symmetric_and_nowhere_negative(names):
    matrix = normal_matrix(problem(names), REACH)
    scaled = matrix / np.sqrt(np.diagonal(matrix)[:, None] * np.diagonal(matrix))
    np.testing.assert_allclose(scaled, scaled.T, atol=1e-10)
    assert np.linalg.eigvalsh(scaled).min() > -1e-8


def test_turning_the_whole_specimen_and_its_tilts_is_free():
    """The gauge: three turns and three moves of specimen and images together cost nothing, and nothing else is free."""
    matrix = normal_matrix(problem(("positions", "angles", "shifts"), disturbed=False), 2 * REACH)
    scaled = matrix / np.sqrt(np.diagonal(matrix)[:, None] * np.diagonal(matrix))
    values = np.linalg.eigvalsh(scaled)
    assert values[5] < 1e-6 < 1e-4 < values[6]
