"""Periodic crystals, and the supercell cut across an interface."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxaet.core import InputError
from jaxaet.phonons import Sites, StillingerWeber
from jaxaet.specimen import (
    Atoms,
    interface_cell,
    lateral_heterojunction,
    monolayer,
    monolayer_cell,
    paper_heterojunction,
    rectangular_cell,
)


def flat(**options):
    """A junction without ripples and defects."""
    rest = {"ripple_amplitude": 0.0, "vacancies": 0, "vacancies_at_interface": 0, "substitutions": 0, **options}
    return lateral_heterojunction(key=jax.random.key(0), **rest)


def test_copies_of_a_cell_make_the_rectangle():
    small, large = monolayer_cell("WSe2"), rectangular_cell("WSe2", 4, 3)
    energy = StillingerWeber()
    each = [float(energy(c, energy.topology(c))) / len(c) for c in (small, small.repeated((2, 5, 1)), large)]
    np.testing.assert_allclose(each, each[0], rtol=1e-12)
    with pytest.raises(InputError, match="even number of rows"):
        rectangular_cell("WSe2", 3, 3)
    with pytest.raises(InputError, match="1 where the crystal ends"):
        small.repeated((1, 1, 2))


def test_the_paper_supercell_has_144_sites_and_closes():
    cell = interface_cell(flat())
    symbols, counts = np.unique(cell.crystal.atoms.symbols, return_counts=True)
    assert len(cell.crystal) == 144
    assert cell.vacancies == 0
    assert dict(zip(symbols, counts, strict=True))["Mo"] == dict(zip(symbols, counts, strict=True))["W"] == 24
    assert Sites(cell.cells, cell.basis, cell.multiples, 3).primitive_cells == 48
    topology = StillingerWeber().topology(cell.crystal)
    lengths = np.linalg.norm(topology.bond_vectors(cell.crystal), axis=1)
    assert len(topology.bonds) == 288  # each metal has six neighbours, across the seams too
    assert 2.2 < lengths.min() < lengths.max() < 2.8
    assert np.sum(cell.distances < 0) == np.sum(cell.distances > 0) == 72


def test_vacancies_and_a_turned_sheet_change_nothing_else():
    atoms = paper_heterojunction(jax.random.key(1))
    angle = 0.7
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turned = eqx.tree_at(lambda a: a.positions, atoms, atoms.positions @ jnp.asarray(turn) + 5.0)
    first, second = interface_cell(atoms), interface_cell(turned)
    assert first.vacancies == 144 - len(first.crystal)
    np.testing.assert_array_equal(first.source, second.source)
    np.testing.assert_allclose(first.crystal.atoms.positions, second.crystal.atoms.positions, atol=1e-9)
    assert np.abs(first.row_strain).max() < 0.03


@pytest.mark.parametrize(
    ("atoms", "options", "words"),
    [
        (monolayer("MoS2", 30.0), {}, "no W in the sheet"),
        (paper_heterojunction(jax.random.key(0), "armchair"), {}, "straight zigzag interface"),
        (paper_heterojunction(jax.random.key(0)), {"rows": (40, 6)}, "give fewer rows"),
        (paper_heterojunction(jax.random.key(0)), {"rows": (6, 5)}, "even sum of rows"),
        (paper_heterojunction(jax.random.key(0)), {"pair": ("Mo", "S")}, "allowed two metals"),
        (paper_heterojunction(jax.random.key(0)), {"pair": ("S", "Se")}, "allowed two metals"),
    ],
)
def test_sheets_without_such_a_strip_are_refused(atoms, options, words):
    with pytest.raises(InputError, match=words):
        interface_cell(atoms, **options)


def test_masses_are_those_of_ase():
    from ase.data import atomic_masses, atomic_numbers

    from jaxaet.specimen.elements import MASSES

    stable = [name for name in MASSES if name != "Tc"]  # of which each table names another isotope
    theirs = [atomic_masses[atomic_numbers[name]] for name in stable]
    np.testing.assert_allclose([MASSES[name] for name in stable], theirs, rtol=2e-3)


def test_an_element_without_a_mass_is_refused():
    from jaxaet.specimen import Crystal

    with pytest.raises(InputError, match="no known mass"):
        Crystal(Atoms.from_symbols([[0, 0, 0]], ["Xx"]), np.eye(3))
