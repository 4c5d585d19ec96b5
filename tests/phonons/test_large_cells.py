"""Densities from a few vectors, and participation ratios with derivatives where modes are degenerate."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxaet.core import InputError
from jaxaet.phonons import (
    ForceConstants,
    StillingerWeber,
    density_of_states,
    find_modes,
    force_constants,
    interface_participation,
    interface_weights,
    mode_participation,
    participation_ratio,
    random_signs,
    sampled_density,
    window_participation,
)
from jaxaet.specimen import monolayer_cell, rectangular_cell

ENERGY = StillingerWeber()
GAMMA = jnp.zeros((1, 3))
# Above 5 widths and above what 400 terms resolve; there the acoustic modes without energy have died out.
ENERGIES = jnp.arange(8.0, 66.0, 0.5)


@pytest.fixture(scope="module")
def supercell():
    """Six cells of MoS2 at rest, with many degenerate modes, the bonds, and three densities' weights."""
    crystal = monolayer_cell("MoS2", 3.11754, 1.55891).repeated((3, 2, 1))
    weights = np.random.default_rng(0).random((3, len(crystal)))
    return crystal, ENERGY.topology(crystal), jnp.asarray(weights)


def units(atoms):
    """Every unit vector: the trace itself."""
    return jnp.eye(3 * atoms).reshape(3 * atoms, atoms, 3)


def directional(function, point, along, step):
    """The gradient and the derivative along a direction, by autodiff and by a central difference."""
    slope = function(point)[1]
    ahead = function(jax.tree.map(lambda x, d: x + step * d, point, along))[0]
    behind = function(jax.tree.map(lambda x, d: x - step * d, point, along))[0]
    found = sum(float(jnp.sum(a * b)) for a, b in zip(*map(jax.tree.leaves, (slope, along)), strict=True))
    return slope, found, float(ahead - behind) / (2 * step)


def test_all_unit_vectors_give_the_exact_density_of_each_region(supercell):
    crystal, topology, weights = supercell
    constants = force_constants(ENERGY, crystal, topology)
    exact = density_of_states(find_modes(constants, crystal, GAMMA), ENERGIES, 1.0, weights)
    found = sampled_density(constants, crystal, ENERGIES, 1.0, units(len(crystal)), weights, order=400)
    np.testing.assert_allclose(found, exact, atol=1e-6 * float(exact.max()))


def test_random_signs_estimate_it_as_well_as_they_say():
    crystal = rectangular_cell("MoS2", 6, 6)
    constants = force_constants(ENERGY, crystal, ENERGY.topology(crystal))
    grid = jnp.arange(8.0, 66.0, 4.0)
    exact = density_of_states(find_modes(constants, crystal, GAMMA), grid, 2.0)[0]
    draws = jnp.stack([
        sampled_density(constants, crystal, grid, 2.0, random_signs(jax.random.key(i), len(crystal), 8), order=200)[0]
        for i in range(12)
    ])  # fmt: skip
    z = (draws.mean(axis=0) - exact) / (draws.std(axis=0, ddof=1) / jnp.sqrt(12.0) + 1e-6 * exact.max())
    assert float(jnp.sqrt(jnp.mean(z**2))) < 1.7
    within = jnp.maximum(exact * 2.0 * jnp.sqrt(2 * jnp.pi), 1.0)
    assert float(jnp.max(draws.std(axis=0) / exact * jnp.sqrt(8 * within))) < 2.5


def test_the_estimate_has_the_derivatives_of_force_constants_and_masses(supercell):
    crystal, topology, weights = supercell
    constants = force_constants(ENERGY, crystal, topology)
    generator = np.random.default_rng(2)
    target = jnp.asarray(generator.normal(size=(3, len(ENERGIES))))
    probes = random_signs(jax.random.key(0), len(crystal), 2)

    @jax.jit
    @jax.value_and_grad
    def objective(point):
        blocks, masses = point
        here = ForceConstants(constants.pairs, constants.images, blocks)
        heavy = eqx.tree_at(lambda c: c.masses, crystal, masses)
        return jnp.sum(target * sampled_density(here, heavy, ENERGIES, 1.0, probes, weights, order=400))

    point = (constants.blocks, crystal.masses)
    along = jax.tree.map(lambda x: jnp.asarray(generator.normal(size=x.shape)), point)
    slope, found, difference = directional(objective, point, along, 1e-5)
    assert found == pytest.approx(difference, rel=1e-5)
    assert all(jnp.isfinite(leaf).all() for leaf in slope)


def test_probes_of_another_crystal_are_refused(supercell):
    crystal, topology, _ = supercell
    constants = force_constants(ENERGY, crystal, topology)
    with pytest.raises(InputError, match=r"give \(any number, 18, 3\)"):
        sampled_density(constants, crystal, ENERGIES, 1.0, jnp.ones((2, 5, 3)))


def test_the_participation_of_a_window_is_that_of_the_mode_alone_in_it(supercell):
    crystal, _, _ = supercell
    moves = 0.05 * np.random.default_rng(5).normal(size=crystal.atoms.positions.shape)
    crystal = crystal.moved(crystal.atoms.positions + moves)
    constants = force_constants(ENERGY, crystal, ENERGY.topology(crystal))
    modes = find_modes(constants, crystal, GAMMA)
    weights = interface_weights(crystal.atoms.positions[:, 0], 3.0)
    alone = [j for j in range(4, 53) if float(jnp.diff(modes.energies[0])[j - 1 : j + 1].min()) > 0.1]
    energies = modes.energies[0, jnp.array(alone)]
    found = [window_participation(constants, crystal, GAMMA, energies, 0.01, w) for w in (None, weights)]
    exact = [participation_ratio(modes), interface_participation(modes, weights)]
    assert len(alone) > 20
    for ratio, expected in zip(found, exact, strict=True):
        np.testing.assert_allclose(ratio, expected[0, jnp.array(alone)], rtol=1e-8)
    outside = window_participation(constants, crystal, GAMMA, jnp.array([500.0]), 1.0)
    np.testing.assert_array_equal(outside, 0.0)


def test_a_window_has_a_derivative_where_modes_are_degenerate(supercell):
    crystal, topology, _ = supercell
    weights = interface_weights(crystal.atoms.positions[:, 0], 3.0)
    energies = jnp.array([24.0, 34.0, 47.0, 500.0])
    kept = find_modes(force_constants(ENERGY, crystal, topology), crystal, GAMMA).energies[0]
    assert float(jnp.diff(kept).min()) < 1e-6

    @jax.jit
    @jax.value_and_grad
    def objective(positions):
        moved = crystal.moved(positions)
        given = (force_constants(ENERGY, moved, topology), moved, GAMMA, energies, 1.0)
        plain, weighted = window_participation(*given), window_participation(*given, weights)
        return jnp.sum(jnp.array([1.0, -2.0, 3.0, 1.0]) * plain) + 10 * jnp.sum(weighted)

    # Symmetry makes the plain ratio stationary here, so the derivative is looked for beside this point too.
    start = crystal.atoms.positions
    along = jnp.asarray(np.random.default_rng(1).normal(size=start.shape))
    for positions in (start, start.at[3].add(jnp.array([0.03, -0.02, 0.04]))):
        slope, found, difference = directional(objective, positions, along, 2e-5)
        assert found == pytest.approx(difference, rel=1e-4, abs=1e-6)
        assert jnp.isfinite(slope).all()


def test_one_mode_has_a_participation_and_half_of_a_pair_has_none(supercell):
    crystal, topology, _ = supercell
    moved = crystal.moved(crystal.atoms.positions.at[3].add(jnp.array([0.03, -0.02, 0.04])))
    value, slope = mode_participation(ENERGY, moved, topology, GAMMA[0], 40)

    @eqx.filter_jit
    def ratio(crystal):
        modes = find_modes(force_constants(ENERGY, crystal, topology), crystal, GAMMA)
        return participation_ratio(modes)[0, 40]

    move = jnp.asarray(np.random.default_rng(1).normal(size=moved.atoms.positions.shape))
    ahead, behind = (float(ratio(moved.moved(moved.atoms.positions + step * move))) for step in (1e-6, -1e-6))
    assert float(value) == pytest.approx(float(ratio(moved)), rel=1e-9)
    assert float(jnp.sum(slope.atoms.positions * move)) == pytest.approx((ahead - behind) / 2e-6, rel=1e-4)
    assert jnp.isfinite(slope.masses).all()
    energies = np.asarray(find_modes(force_constants(ENERGY, crystal, topology), crystal, GAMMA).energies[0])
    pair = int(np.argmin(np.diff(energies[10:]))) + 10
    with pytest.raises(InputError, match="has no participation ratio of its own"):
        mode_participation(ENERGY, crystal, topology, GAMMA[0], pair)
