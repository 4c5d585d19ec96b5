"""The derivative of `Linear` in every float leaf: against finite differences, and against its own transpose."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from jax.flatten_util import ravel_pytree
from jax.test_util import check_grads
from strategies import arrays

from jaxaet.core import Grid
from jaxaet.forward import Dense, Linear, Tiled
from jaxaet.instrument import AnnularDetector, Beam, Microscope, Tilts
from jaxaet.specimen import Atoms

rng = np.random.default_rng(0)
# The first atom is outside the images. No weight is 0, where `composition` ends and only one side has a derivative.
COMPOSITION = [[0.9, 0.1], [0.5, 0.5], [0.1, 0.8], [0.1, 0.2], [0.7, 0.2]]
POSITIONS = rng.uniform(-4, 4, (5, 3)) + np.eye(5, 3) * 7.0 * np.eye(5, 1)
ATOMS = Atoms(POSITIONS, COMPOSITION, rng.uniform(0.01, 0.03, 5), ("Mo", "S"), jnp.array([0.004, 0.01]))
MICROSCOPE = Microscope(
    Beam(60e3, 0.038, 0.4, 1e3),
    AnnularDetector(0.05, 0.21, [1.0, 0.9]),
    Tilts(rng.uniform(-0.4, 0.4, (2, 3)), rng.uniform(-1, 1, (2, 2))),
    Grid((19, 26), 0.4),
    [0.9, 1.2],
    [1.0, 2.0],
)
START, UNRAVEL = ravel_pytree((ATOMS, MICROSCOPE))
PATHS = [
    (jax.tree_util.keystr(path), leaf.size)
    for path, leaf in jax.tree_util.tree_flatten_with_path((ATOMS, MICROSCOPE))[0]
]
ENDS = np.cumsum([size for _, size in PATHS])
LEAVES = {name: np.arange(end - size, end) for (name, size), end in zip(PATHS, ENDS, strict=True)}
# What a finite difference may be a small fraction of.
UNITS = np.where(np.abs(START) > 100, 1e3, 1.0)
for name in ("semi_angle", "inner", "outer"):
    UNITS[[LEAVES[leaf] for leaf in LEAVES if leaf.endswith(name)]] = 0.01
both_ways = pytest.mark.parametrize("splat", [Dense(), Tiled(36, tiles=4, slots=5)], ids=["dense", "tiled"])


@partial(jax.jit, static_argnums=0)
def see(splat, values) -> jax.Array:
    return Linear(splat)(*UNRAVEL(values)).data


def pull(splat, cotangent, values=START) -> jax.Array:
    return jax.vjp(partial(see, splat), values)[1](cotangent)[0]


def test_the_tiles_are_in_use():
    difference = np.abs(see(Dense(), START) - see(Tiled(36, 4, 5), START)).max()
    assert 0 < difference < 1e-3


@both_ways
@pytest.mark.parametrize("leaf", LEAVES)
def test_every_leaf_against_finite_differences(splat, leaf):
    where = LEAVES[leaf]

    def images(steps):
        return see(splat, START.at[where].add(steps * UNITS[where]))

    check_grads(images, (jnp.zeros(len(where)),), order=1, modes=("fwd", "rev"), atol=1e-5, rtol=1e-5)


@both_ways
@given(tangent=arrays(START.shape, -1.0, 1.0), seed=arrays((1,), 0, 1e6))
def test_pulling_back_is_the_transpose_of_pushing_forward(splat, tangent, seed):
    """⟨J v, w⟩ = ⟨v, Jᵀ w⟩ for any change v of all leaves together and any image w."""
    cotangent = np.random.default_rng(int(seed[0])).normal(size=(2, 19, 26))
    tangent = tangent * UNITS
    _, pushed = jax.jvp(partial(see, splat), (START,), (jnp.asarray(tangent),))
    pulled = pull(splat, jnp.asarray(cotangent))
    terms = np.abs(tangent * np.asarray(pulled)).sum()
    np.testing.assert_allclose(np.vdot(pushed, cotangent), np.vdot(tangent, pulled), rtol=0, atol=1e-12 * (terms + 1))


@both_ways
@pytest.mark.parametrize(("site", "rtol"), [([0.9, 0.0], 1e-4), ([0.0, 0.0], 0.02)], ids=["other species", "vacancy"])
def test_what_is_absent_has_the_slope_of_adding_it(splat, site, rtol):
    """Species and vacancies are found through `composition`. An empty site only lacks the shared blur `species_u2`."""
    last = LEAVES["[0].composition"][-2:]
    start = START.at[last].set(jnp.asarray(site))
    slope = pull(splat, jnp.ones((2, 19, 26)), start)
    added = (see(splat, start.at[last[1]].set(1e-6)) - see(splat, start)).sum() / 1e-6
    assert np.isfinite(slope).all()
    np.testing.assert_allclose(slope[last[1]], added, rtol=rtol)
