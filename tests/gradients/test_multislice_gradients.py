"""The derivative of `Multislice` in every float leaf of specimen and instrument, against finite differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxaet
from jaxaet.forward import Multislice

rng = np.random.default_rng(0)
POSITIONS = np.array([[-0.8, -0.6, 1.1], [0.7, 0.5, 0.3], [0.1, -0.9, -1.2], [-0.4, 0.9, -0.4]])
COMPOSITION = [[0.9, 0.1], [0.5, 0.5], [0.1, 0.8], [0.2, 0.3]]
ATOMS = jaxaet.Atoms(POSITIONS, COMPOSITION, [0.01, 0.02, 0.015, 0.01], ("Mo", "S"), jnp.array([0.004, 0.006]))
LENS = jaxaet.Aberrations(
    12.0, (5.0, -4.0), (60.0, 40.0), (50.0, -30.0), 2e3, (900.0, 400.0), (500.0, -700.0), 1e6
)  # fmt: skip
MICROSCOPE = jaxaet.Microscope(
    jaxaet.Beam(60e3, 0.0381, 0.4, 1e3, LENS, 20.0),
    jaxaet.AnnularDetector(0.0513, 0.1207, 0.9),
    jaxaet.Tilts([[0.1, 0.3, -0.2]], [[0.2, -0.1]]),
    jaxaet.Grid((4, 4), 0.4),
    0.9,
    2.0,
    jaxaet.StageVibration(0.4, 0.3, 0.1),
)
START, UNRAVEL = ravel_pytree((ATOMS, MICROSCOPE))
PATHS = [
    (jax.tree_util.keystr(path), leaf.size)
    for path, leaf in jax.tree_util.tree_flatten_with_path((ATOMS, MICROSCOPE))[0]
]
ENDS = np.cumsum([size for _, size in PATHS])
LEAVES = {name: np.arange(end - size, end) for (name, size), end in zip(PATHS, ENDS, strict=True)}
UNITS = np.where(np.abs(START) > 100, np.abs(START), 1.0)
for name in ("semi_angle", "inner", "outer"):
    UNITS[[LEAVES[leaf] for leaf in LEAVES if leaf.endswith(name)]] = 1e-3
UNITS[LEAVES["[0].u2"]] = 0.01  # a step of the difference has to be small against u2 itself
PLAN = {"sampling": 0.19, "margin": 2.0, "block": 4, "foci": 2}
MODELS = {
    "planes": Multislice.plan(ATOMS, MICROSCOPE, **PLAN),
    "slabs": Multislice.plan(ATOMS, MICROSCOPE, slabs=True, spacing=0.7, **PLAN),
    "prism": Multislice.plan(ATOMS, MICROSCOPE, prism=1, **PLAN),
    "frozen": Multislice.plan(
        ATOMS, MICROSCOPE, thermal=jaxaet.FrozenPhonons.draw(jax.random.key(1), 4, 2), remat=False, **PLAN
    ),
}


@eqx.filter_jit
def see(model, values) -> jax.Array:
    return model(*UNRAVEL(values)).data


@eqx.filter_jit
def pull(model, cotangent, start) -> jax.Array:
    return jax.vjp(lambda values: model(*UNRAVEL(values)).data, start)[1](cotangent)[0]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("leaf", LEAVES)
def test_every_leaf_against_finite_differences(model, leaf):
    """Along a random direction of each leaf and weights of the pixels: compiled once, unlike `check_grads`."""
    if model != "planes" and leaf not in ("[0].positions", "[0].u2", "[0].composition", "[1].beam.semi_angle"):
        pytest.skip("what slicing, method and motion do not touch is tested once")
    direction, weights = np.zeros(START.size), rng.normal(size=(1, 4, 4))
    direction[LEAVES[leaf]] = rng.normal(size=len(LEAVES[leaf])) * UNITS[LEAVES[leaf]]
    step = 1e-5  # of the energy: small enough to move no coefficient over the edge of the band
    there, back = (see(MODELS[model], START + sign * step * direction) for sign in (1, -1))
    difference = np.vdot(weights, there - back) / (2 * step)
    slope = np.vdot(pull(MODELS[model], jnp.asarray(weights), START), direction)
    np.testing.assert_allclose(slope, difference, rtol=3e-4, atol=1e-5)


def test_forward_and_reverse_agree():
    """⟨J v, w⟩ = ⟨v, Jᵀ w⟩ for a change v of all leaves together and an image w."""
    tangent, cotangent = rng.normal(size=START.size) * UNITS * 1e-3, rng.normal(size=(1, 4, 4))
    run = lambda values: see(MODELS["planes"], values)  # noqa: E731
    _, pushed = jax.jvp(run, (START,), (jnp.asarray(tangent),))
    pulled = pull(MODELS["planes"], jnp.asarray(cotangent), START)
    np.testing.assert_allclose(np.vdot(pushed, cotangent), np.vdot(tangent, pulled), rtol=1e-9)


def test_height_matters_through_focus_alone():
    """In an untilted image the derivative along the beam is small and not zero: propagation carries it."""
    flat = jnp.asarray(START).at[LEAVES["[1].tilts.angles"]].set(0.0)
    slope = pull(MODELS["planes"], jnp.ones((1, 4, 4)), flat)[LEAVES["[0].positions"]].reshape(-1, 3)
    along, across = np.abs(slope[:, 2]).max(), np.abs(slope[:, :2]).max()
    assert 1e-4 * across < along < 0.5 * across


def test_rematerialisation_changes_no_gradient():
    kept, again = Multislice.plan(ATOMS, MICROSCOPE, remat=False, **PLAN), MODELS["planes"]
    assert again.remat
    slopes = [pull(model, jnp.arange(16.0).reshape(1, 4, 4), START) for model in (kept, again)]
    np.testing.assert_allclose(*slopes, rtol=1e-9, atol=1e-9 * np.abs(slopes[0]).max())
