"""Energies, force constants, modes, densities, unfolding: against phonopy, finite differences and closed forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from jax.test_util import check_grads

from jaxaet.core import InputError
from jaxaet.inverse import Measurement, fit_valence, relax
from jaxaet.io import displaced_constants, fitted_constants, from_phonopy, to_phonopy
from jaxaet.phonons import (
    ForceConstants,
    Sites,
    StillingerWeber,
    ValenceForceField,
    assign_sites,
    bulk_fit,
    density_of_states,
    enrichment,
    find_modes,
    force_constants,
    forces,
    from_matrix,
    gauss_newton_constants,
    group_velocities,
    half_mesh,
    interface_participation,
    interface_weights,
    lorentzian,
    mean_energy,
    mesh,
    participation_ratio,
    path,
    peaks,
    projected_density,
    reference_frequencies,
    spectral_function,
    thermal_constants,
    total_density,
    unfold,
)
from jaxaet.specimen import Atoms, Crystal, monolayer_cell, rectangular_cell, rectangular_multiples, rectangular_sites

ENERGY = StillingerWeber()
Q = jnp.array([[0.13, 0.21, 0.0], [0.5, 0.0, 0.0], [1 / 3, 1 / 3, 0.0]])
THZ = 4.135667696  # meV


@pytest.fixture(scope="module")
def sulphide():
    """The primitive cell of MoS2 at rest and its bonds."""
    crystal = relax(ENERGY, monolayer_cell("MoS2"), (True, True, False)).crystal
    return crystal, ENERGY.topology(crystal)


@pytest.fixture(scope="module")
def alloy():
    """A rattled cell with all four elements and a vacancy, and its bonds."""
    crystal = rectangular_cell("MoS2", 4, 3)
    symbols = [("W" if i % 2 else "Mo") if s == "Mo" else ("Se" if i % 3 else "S")
               for i, s in enumerate(crystal.atoms.symbols)]  # fmt: skip
    noise = 0.03 * np.random.default_rng(1).normal(size=crystal.atoms.positions.shape)
    atoms = Atoms.from_symbols(np.asarray(crystal.atoms.positions) + noise, symbols)
    crystal = Crystal(atoms.select(np.arange(len(atoms)) != 7), crystal.cell)
    return crystal, ENERGY.topology(crystal)


# The energies of LAMMPS' pair style sw/mod with tmd.sw.mod: eV per formula unit at a and height in Å.
@pytest.mark.parametrize(
    ("material", "constant", "half", "value"),
    [
        ("MoS2", 3.11754, 1.55891, -3.716559),
        ("WSe2", 3.28837, 1.64433, -8.010859),
        ("MoSe2", 3.31136, 1.65582, -6.133661),
        ("WS2", 3.12821, 1.56424, -5.708789),
    ],
)
def test_energies_are_those_of_lammps(material, constant, half, value):
    crystal = monolayer_cell(material, constant, half)
    assert float(ENERGY(crystal, ENERGY.topology(crystal))) == pytest.approx(value, abs=2e-6)


def test_the_minimum_is_that_of_lammps(sulphide):
    crystal, topology = sulphide
    assert float(crystal.cell[1, 1]) == pytest.approx(3.11754, abs=2e-5)
    assert float(jnp.abs(forces(ENERGY, crystal, topology)).max()) < 1e-6


def test_energy_has_the_derivatives_of_every_leaf(alloy):
    crystal, topology = alloy

    def total(positions, cell, energy):
        positions, cell, energy = jax.tree.map(jnp.asarray, (positions, cell, energy))
        return energy(eqx.tree_at(lambda c: (c.atoms.positions, c.cell), crystal, (positions, cell)), topology)

    check_grads(total, (crystal.atoms.positions, crystal.cell, ENERGY), order=1, modes=["rev"], rtol=1e-5)


def test_a_triplet_inside_the_switch_has_the_derivative_of_its_energy():
    kinds, length = jnp.array([0, 0, 0]), jnp.array(2.4)

    def energy(cosine):
        return ENERGY.angle(kinds, length, length, jnp.asarray(cosine))

    check_grads(energy, (0.143 + 0.3,), order=1, rtol=1e-6, eps=1e-6)


@given(st.floats(-3, 3), st.floats(-0.5, 0.5))
def test_energy_does_not_change_with_place_or_direction(shift, angle):
    crystal = rectangular_cell("WSe2", 2, 2)
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = jnp.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    turned = Crystal(
        eqx.tree_at(lambda a: a.positions, crystal.atoms, crystal.atoms.positions @ turn + shift), crystal.cell @ turn
    )
    values = [float(ENERGY(one, ENERGY.topology(one))) for one in (crystal, turned)]
    assert values[0] == pytest.approx(values[1], rel=1e-12)


def test_an_atom_that_leaves_the_list_makes_the_energy_no_number(alloy):
    crystal, topology = alloy
    moved = crystal.moved(crystal.atoms.positions.at[3, 0].add(0.3))
    assert jnp.isnan(ENERGY(moved, topology))
    assert jnp.isfinite(ENERGY(moved, ENERGY.topology(moved)))


def test_force_constants_are_the_hessian_and_obey_the_sum_rule(alloy):
    crystal, topology = alloy
    constants = force_constants(ENERGY, crystal, topology)
    n = len(crystal)
    dense = jax.hessian(lambda p: ENERGY(crystal.moved(p), topology))(crystal.atoms.positions).reshape(3 * n, 3 * n)
    matrix = constants.dynamical_matrix(jnp.zeros(3), jnp.ones(n))
    np.testing.assert_allclose(matrix, dense, atol=1e-12)
    assert float(constants.sum_rule(n)) < 1e-12
    move = jnp.asarray(np.random.default_rng(2).normal(size=(n, 3)))
    np.testing.assert_allclose(constants.times(move).reshape(-1), dense @ move.reshape(-1), atol=1e-11)


def test_without_prestress_nothing_is_imaginary(sulphide):
    torn = Crystal(Atoms.from_symbols([[0, 0, 0], [2.9, 0, 0]], ["Mo", "S"]), 20 * np.eye(3))  # beyond the inflection
    topology, kinds = ENERGY.topology(torn), (force_constants, gauss_newton_constants)
    made = [make(ENERGY, torn, topology) for make in kinds]
    lowest = [float(jnp.linalg.eigvalsh(c.dynamical_matrix(jnp.zeros(3), torn.masses)).min()) for c in made]
    assert lowest[0] < -0.01
    assert lowest[1] > -1e-10
    at_rest = [find_modes(make(ENERGY, *sulphide), sulphide[0], Q).energies for make in kinds]
    np.testing.assert_allclose(at_rest[0], at_rest[1], atol=0.02)


def test_the_positive_part_has_a_derivative_at_equal_eigenvalues(alloy):
    crystal, topology = alloy
    slope = jax.grad(lambda p: jnp.sum(gauss_newton_constants(ENERGY, crystal.moved(p), topology).blocks ** 2))
    assert jnp.isfinite(slope(crystal.atoms.positions)).all()


def test_thermal_constants_tend_to_the_full_ones(alloy):
    crystal, topology = alloy
    full = force_constants(ENERGY, crystal, topology).blocks
    gaps = [
        float(jnp.abs(thermal_constants(ENERGY, crystal, topology, u, jax.random.key(0), 2).blocks - full).max())
        for u in (0.02, 0.01)
    ]
    assert gaps[0] / gaps[1] == pytest.approx(4.0, rel=0.1)


def test_phonopy_finds_the_same_modes(sulphide):
    crystal, topology = sulphide
    constants = force_constants(ENERGY, crystal, topology)
    modes = find_modes(constants, crystal, Q)
    theirs = to_phonopy(crystal, (5, 5, 1), constants)
    theirs.run_qpoints(np.asarray(Q), with_eigenvectors=True, with_group_velocities=True)
    np.testing.assert_allclose(modes.energies, theirs.qpoints.frequencies * THZ, rtol=1e-6)
    scaled = np.asarray(crystal.atoms.positions) @ np.linalg.inv(crystal.cell)
    tables = (np.asarray(Q), np.asarray(modes.energies), modes.eigenvectors, theirs.qpoints.eigenvectors)
    for point, energies, ours, other in zip(*tables, strict=True):
        # Phonopy's phase is that of the atom: take it off, and compare the subspaces of equal energies.
        gauge = np.repeat(np.exp(2j * np.pi * scaled @ point), 3)[:, None]
        overlap = np.abs(np.asarray(ours).conj().T @ (gauge * other)) ** 2
        apart = np.abs(energies[:, None] - energies[None, :]) > 0.1
        assert overlap[apart].max() < 1e-9
    speed = np.linalg.norm(group_velocities(constants, crystal, Q[:1])[0], axis=1)
    np.testing.assert_allclose(speed, 100 * np.linalg.norm(theirs.qpoints.group_velocities[0], axis=1), rtol=1e-5)


def test_what_phonopy_holds_comes_back(sulphide):
    crystal, topology = sulphide
    theirs = to_phonopy(crystal, (3, 3, 1), force_constants(ENERGY, crystal, topology))
    theirs.run_qpoints(np.asarray(Q))
    back, constants = from_phonopy(theirs)
    np.testing.assert_allclose(find_modes(constants, back, Q).energies, theirs.qpoints.frequencies * THZ, atol=1e-5)


def test_displacements_and_snapshots_give_the_exact_constants(sulphide):
    crystal, topology = sulphide
    larger = ENERGY.topology(crystal.repeated((4, 4, 1)))
    pull = eqx.filter_jit(lambda one: forces(ENERGY, one, larger))
    exact = find_modes(force_constants(ENERGY, crystal, topology), crystal, Q).energies
    moved = displaced_constants(crystal, pull, (4, 4, 1), 0.001)
    np.testing.assert_allclose(find_modes(moved, crystal, Q).energies, exact, atol=1e-4)
    fitted = fitted_constants(crystal, pull, (4, 4, 1), 0.01, 16, cutoff=5.0)
    np.testing.assert_allclose(find_modes(fitted, crystal, Q).energies, exact, atol=0.02)


def test_unfolding_a_pristine_supercell_returns_the_primitive_bands(sulphide):
    crystal, topology = sulphide
    larger = crystal.repeated((3, 2, 1))
    sites = assign_sites(larger, np.diag([3, 2, 1]), np.asarray(crystal.atoms.positions))
    k = Q[jnp.array([0, 2])]
    energies, weights = unfold(force_constants(ENERGY, larger, ENERGY.topology(larger)), larger, sites, k)
    bands = find_modes(force_constants(ENERGY, crystal, topology), crystal, k).energies
    for found, weight, band in zip(np.asarray(energies), np.asarray(weights), np.asarray(bands), strict=True):
        assert np.all((weight < 1e-8) | (weight > 1 - 1e-8))
        np.testing.assert_allclose(found[weight > 0.5], band, atol=1e-8)


def test_weights_over_all_that_folds_onto_one_wave_vector_sum_to_one(alloy):
    crystal, topology = alloy
    cells, basis = rectangular_sites(4, 3)
    kept = np.arange(36) != 7
    multiples = rectangular_multiples(4, 3)
    sites = Sites(cells[kept], basis[kept], multiples, 3)
    folded = np.array([np.linalg.solve(multiples, [i + 0.1, j + 0.2, 0]) for i in range(12) for j in range(12)])
    distinct = np.unique(np.round(folded % 1, 9), axis=0)
    constants = force_constants(ENERGY, crystal, topology)
    _, weights = unfold(constants, crystal, sites, jnp.asarray(distinct))
    assert len(distinct) == sites.primitive_cells == 12
    np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-10)
    np.testing.assert_allclose(weights.sum(axis=1), 3 * 35 / 12, atol=1e-10)


def test_the_density_counts_every_mode(sulphide):
    crystal, topology = sulphide
    modes = find_modes(force_constants(ENERGY, crystal, topology), crystal, jnp.asarray(mesh((6, 6, 1))))
    energies = jnp.arange(-10, 90, 0.05)
    for shape, total in ((None, 9.0), (lorentzian, 9.0)):
        options = {} if shape is None else {"shape": shape}
        density = density_of_states(modes, energies, 0.2, **options)
        assert float(density.sum() * 0.05) == pytest.approx(total, rel=1e-6 if shape is None else 0.02)


def test_half_of_the_mesh_and_eigenvalues_alone_give_the_same_density(alloy):
    crystal, topology = alloy
    constants, energies = force_constants(ENERGY, crystal, topology), jnp.linspace(0.0, 70.0, 71)
    for counts in ((2, 3, 1), (1, 3, 1)):
        whole = find_modes(constants, crystal, jnp.asarray(mesh(counts)))
        half = jnp.asarray(half_mesh(counts))
        assert len(half) == (3 if len(whole.q) == 3 else len(whole.q) // 2)
        expected = density_of_states(whole, energies, 1.0)[0]
        np.testing.assert_allclose(total_density(constants, crystal, half, energies, 1.0), expected, atol=1e-9)


def test_projected_densities_have_derivatives_where_modes_are_degenerate(sulphide):
    crystal, _ = sulphide
    larger = crystal.repeated((2, 2, 1))
    topology = ENERGY.topology(larger)
    generator = np.random.default_rng(4)
    energies, q = jnp.linspace(0.0, 70.0, 71), jnp.asarray(mesh((2, 2, 1)))
    weights, target = jnp.asarray(generator.random((2, 12))), jnp.asarray(generator.normal(size=(2, 71)))

    def objective(crystal):
        constants = force_constants(ENERGY, crystal, topology)
        return jnp.sum(target * projected_density(constants, crystal, q, energies, 1.5, weights))

    direct = density_of_states(find_modes(force_constants(ENERGY, larger, topology), larger, q), energies, 1.5, weights)
    assert float(objective(larger)) == pytest.approx(float(jnp.sum(target * direct)), rel=1e-10)
    slope = eqx.filter_grad(objective)(larger)
    move = jnp.asarray(generator.normal(size=(12, 3)))
    ahead, behind = (objective(larger.moved(larger.atoms.positions + step * move)) for step in (2e-5, -2e-5))
    assert float(jnp.sum(slope.atoms.positions * move)) == pytest.approx(float((ahead - behind) / 4e-5), rel=1e-4)
    assert jnp.isfinite(slope.masses).all()


def test_one_mode_has_a_gradient_and_half_of_a_pair_has_none(sulphide):
    crystal, topology = sulphide
    value, slope = mean_energy(ENERGY, crystal, topology, Q[0], [5])

    def energy(step):
        moved = crystal.moved(crystal.atoms.positions.at[1, 2].add(step))
        return float(find_modes(force_constants(ENERGY, moved, topology), moved, Q[:1]).energies[0, 5])

    assert float(value) == pytest.approx(energy(0.0), rel=1e-12)
    assert float(slope.atoms.positions[1, 2]) == pytest.approx((energy(1e-5) - energy(-1e-5)) / 2e-5, rel=1e-5)
    for none in ([], [99], [-1]):
        with pytest.raises(InputError, match="allowed one or more of 0 to"):
            mean_energy(ENERGY, crystal, topology, Q[0], none)
    with pytest.raises(InputError, match=r"take \[5, 6\] together"):
        mean_energy(ENERGY, crystal, topology, jnp.zeros(3), [5])


def test_participation_of_a_plane_wave_and_of_one_atom():
    constants = from_matrix(np.zeros((4, 4, 3, 3)))
    crystal = Crystal(Atoms.from_symbols(3.0 * np.eye(4, 3), ["C"] * 4), 20 * np.eye(3))
    modes = find_modes(constants, crystal, jnp.zeros((1, 3)))
    np.testing.assert_allclose(participation_ratio(modes), 0.25)  # without forces each mode is one atom's
    even = eqx.tree_at(lambda m: m.eigenvectors, modes, jnp.full((1, 12, 12), np.sqrt(1 / 12) + 0j))
    weights = interface_weights(jnp.arange(4.0), 1.0)
    np.testing.assert_allclose(participation_ratio(even), 1.0)
    np.testing.assert_allclose(interface_participation(even, weights), 0.25)
    np.testing.assert_allclose(enrichment(even, jnp.array([1.0, 1.0, 0.0, 0.0])), 1.0)


def test_values_alone_do_not_retrace(sulphide):
    crystal, topology = sulphide
    traces = []

    @jax.jit
    def energies(crystal):
        traces.append(1)
        return find_modes(force_constants(ENERGY, crystal, topology), crystal, Q).energies

    energies(crystal)
    energies(crystal.moved(crystal.atoms.positions + 0.01))
    assert len(traces) == 1


def test_a_mixture_of_bulk_is_fitted_exactly_and_a_peak_beside_it_is_found():
    energies = np.arange(0, 70, 0.25)
    references = np.stack([np.exp(-((energies - e) ** 2) / 8) for e in (20, 45)])
    fit = bulk_fit(references[0] + 0.5 * references[1], references)
    np.testing.assert_allclose(fit.shares, [1, 0.5])
    assert fit.relative < 1e-12
    extra = 0.2 * np.exp(-((energies - 33.3) ** 2) / 2)
    (peak,) = peaks(energies, bulk_fit(references.sum(axis=0) + extra, references).residual, 0.1)
    assert peak.energy == pytest.approx(33.3, abs=0.05)


def test_measured_atoms_are_kept_where_they_are_certain(alloy):
    crystal, _ = alloy
    sigma = jnp.full((len(crystal), 3), 0.001).at[:5].set(10.0)
    found = relax(ENERGY, crystal, measured=Measurement(crystal.atoms.positions, sigma, 300.0))
    moved = jnp.linalg.norm(found.crystal.atoms.positions - crystal.atoms.positions, axis=1)
    assert float(moved[5:].max()) < 0.002
    assert float(moved[:5].max()) > 0.005


def test_a_picture_of_bands_holds_their_weights():
    grid = jnp.arange(0.0, 50.0, 0.1)
    picture = spectral_function(jnp.array([[10.0, 30.0]]), jnp.array([[1.0, 0.5]]), grid, 1.0)
    assert float(picture.sum() * 0.1) == pytest.approx(1.5)
    assert path(np.eye(3), 4).shape == (9, 3)


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (Atoms.from_symbols([[0, 0, 0], [0.5, 0, 0]], ["Mo", "S"]), "0.50 Å apart"),
        (Atoms.from_symbols([[0, 0, 0], [2.4, 0, 0]], ["Mo", "O"]), r"\['O'\] are not in the potential"),
        (Atoms([[0, 0, 0]], [[0.1, 0.1]], 0.0, ("Mo", "S")), "no species"),
        (Atoms.from_symbols([[0, 0, np.nan]], ["Mo"]), "not finite"),
    ],
)
def test_impossible_atoms_are_refused(atoms, words):
    with pytest.raises(InputError, match=words):
        ENERGY.topology(Crystal(atoms, 20 * np.eye(3)))


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="no volume"):
        Crystal(Atoms.from_symbols([[0, 0, 0]], ["Mo"]), np.zeros((3, 3)))
    with pytest.raises(InputError, match="do not fit"):
        ForceConstants(np.zeros((2, 2)), np.zeros((2, 3)), np.zeros((3, 3, 3)))
    three = Crystal(Atoms.from_symbols(2.0 * np.eye(3), ["Mo", "S", "S"]), 9 * np.eye(3))
    for pairs, words in (([[0, 7]], "of 8 atoms do not fit a crystal of 3"), ([[0, 0]], "of 1 atoms do not fit")):
        with pytest.raises(InputError, match=words):
            find_modes(ForceConstants(pairs, [[0, 0, 0]], np.ones((1, 3, 3))), three, jnp.zeros((1, 3)))
    with pytest.raises(InputError, match="not finite"):
        Crystal(three.atoms, np.full((3, 3), np.nan))
    with pytest.raises(InputError, match=r"forces on 3 atoms have shape \(2, 3\)"):
        displaced_constants(three, lambda crystal: np.zeros((2, 3)))
    with pytest.raises(InputError, match=r"\(n, n, 3, 3\)"):
        from_matrix(np.zeros((4, 6, 3, 3)))
    with pytest.raises(InputError, match="lie on one site"):
        Sites(np.zeros((2, 3)), [0, 0], np.eye(3), 1)


@pytest.mark.parametrize(("material", "misfit"), [("MoS2", 0.59), ("WSe2", 0.5)])
def test_the_force_field_has_first_principles_frequencies(material, misfit):
    points, energies = zip(*reference_frequencies(material), strict=True)
    crystal, kept = monolayer_cell(material), ValenceForceField().constants[0 if material == "MoS2" else 3]
    found, rms = fit_valence(crystal, np.array(points), energies, 1.02 * np.asarray(kept))
    assert float(rms) == pytest.approx(misfit, abs=0.005)
    np.testing.assert_allclose(found, kept, atol=0.01)


def test_the_force_field_is_at_rest_where_it_was_fitted_and_stable_everywhere(alloy):
    field, noisy = ValenceForceField(), alloy[0]
    crystal = monolayer_cell("WSe2")
    topology, kinds = field.topology(crystal), (force_constants, gauss_newton_constants)
    assert float(jnp.abs(forces(field, crystal, topology)).max()) < 1e-10
    energies = [find_modes(make(field, crystal, topology), crystal, Q).energies for make in kinds]
    np.testing.assert_allclose(*energies, atol=1e-4)
    matrix = gauss_newton_constants(field, noisy, field.topology(noisy)).dynamical_matrix(jnp.zeros(3), noisy.masses)
    assert float(jnp.linalg.eigvalsh(matrix).min()) > -1e-10
    with pytest.raises(InputError, match=r"\['Te'\] are not in the force field"):
        field.topology(Crystal(Atoms.from_symbols([[0, 0, 0]], ["Te"]), 20 * np.eye(3)))
    with pytest.raises(InputError, match="no reference frequencies"):
        reference_frequencies("WS2")
