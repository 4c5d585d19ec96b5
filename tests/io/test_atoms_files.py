"""Atoms survive the way to ASE and to files, and bad files are refused in a sentence."""

import re

import ase.io
import numpy as np
import pytest
from hypothesis import given, strategies as st

from jaxaet.core import InputError
from jaxaet.io import from_ase, load_atoms, save_atoms, to_ase
from jaxaet.specimen import Atoms


def draw_atoms(seed, count=7, species=("Mo", "S", "F")):
    draw = np.random.default_rng(seed)
    composition = draw.dirichlet(np.ones(len(species) + 1), count)[:, :-1]
    positions = draw.normal(scale=20, size=(count, 3))
    return Atoms(positions, composition, draw.uniform(0, 0.1, count), species, draw.uniform(0, 0.02, len(species)))


def assert_same(found, atoms, atol):
    assert found.species == atoms.species
    for name in ("positions", "composition", "u2", "species_u2"):
        np.testing.assert_allclose(getattr(found, name), getattr(atoms, name), rtol=0, atol=atol)


@given(
    seed=st.integers(0, 2**16),
    size=st.sampled_from([(0, ("W",)), (1, ("F",)), (5, ("W", "Se")), (7, ("Mo", "S", "F"))]),
)
def test_ase_and_back_is_the_identity(seed, size):
    atoms = draw_atoms(seed, *size)
    assert_same(from_ase(to_ase(atoms)), atoms, atol=0)


@given(
    seed=st.integers(0, 2**16),
    size=st.sampled_from([(0, ("W",)), (1, ("F",)), (1, ("W", "Se")), (7, ("Mo", "S", "F"))]),
)
def test_extxyz_keeps_everything(seed, size, tmp_path_factory):
    path = tmp_path_factory.mktemp("atoms") / "a.extxyz"
    atoms = draw_atoms(seed, *size)
    sigma = np.random.default_rng(seed + 1).uniform(0, 0.3, (len(atoms), 3))
    save_atoms(path, atoms, sigma)
    assert_same(load_atoms(path), atoms, atol=1e-8)
    if len(atoms):
        np.testing.assert_allclose(ase.io.read(path).arrays["sigma"], sigma, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["a.cif", "POSCAR", "a.vasp", "POSCAR_relaxed"])
def test_cell_formats_keep_the_origin_and_leave_out_vacancies(name, tmp_path):
    positions = [[1.0, 2.0, 3.0], [-4.5, 0.25, 0.0], [0.5, 7.0, -2.0], [3.0, 3.0, 3.0]]
    composition = [[0.0, 1.0], [1.0, 0.0], [0.3, 0.6], [0.1, 0.2]]
    save_atoms(tmp_path / name, Atoms(positions, composition, 0.01, ("Se", "W")))
    found = load_atoms(tmp_path / name, species=("Se", "W"))
    order = np.argsort(found.positions[:, 2])
    np.testing.assert_allclose(found.positions[order], [[0.5, 7, -2], [-4.5, 0.25, 0], [1, 2, 3]], atol=1e-6)
    assert list(found.symbols[order]) == ["W", "Se", "W"]


def test_the_cell_has_vacuum_on_all_sides(tmp_path):
    atoms = draw_atoms(3)
    save_atoms(tmp_path / "POSCAR", Atoms.from_symbols(atoms.positions, ["W"] * 7))
    boxed = ase.io.read(tmp_path / "POSCAR")
    gaps = np.concatenate([boxed.positions.min(axis=0), boxed.cell.lengths() - boxed.positions.max(axis=0)])
    assert gaps.min() == pytest.approx(10)


def test_atoms_of_other_programs_are_one_hot_in_the_order_asked_for():
    found = from_ase(ase.Atoms("MoXS2", positions=np.eye(4)[:, :3]), species=("S", "W", "Mo"))
    np.testing.assert_array_equal(found.composition, [[0, 0, 1], [0, 0, 0], [1, 0, 0], [1, 0, 0]])
    assert from_ase(ase.Atoms("MoXS2", positions=np.eye(4)[:, :3])).species == ("Mo", "S")


def test_reordering_species_carries_their_shared_u2():
    atoms = draw_atoms(5)
    found = from_ase(to_ase(atoms), species=("F", "W", "Mo", "S"))
    np.testing.assert_array_equal(found.species_u2, np.array([*atoms.species_u2, 0])[[2, 3, 0, 1]])
    np.testing.assert_array_equal(found.composition[:, 2], atoms.composition[:, 0])


def test_overwriting_must_be_asked_for(tmp_path):
    path = tmp_path / "a.extxyz"
    path.write_text("precious")
    with pytest.raises(InputError, match="already exists"):
        save_atoms(path, draw_atoms(0))
    assert path.read_text() == "precious"
    save_atoms(path, draw_atoms(0), overwrite=True)
    assert_same(load_atoms(path), draw_atoms(0), atol=1e-8)
    assert [file.name for file in tmp_path.iterdir()] == ["a.extxyz"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.cif", None, "not a file"),
        ("a.pdb", "", "'.pdb'"),
        ("a.extxyz", "3\nno such columns\nMo 0 0\n", "damaged"),
        ("a.extxyz", "", "damaged"),
        ("a.cif", "nothing of use", "damaged"),
        ("POSCAR", "Mo\n1.0\n", "damaged"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(name, content, words, tmp_path):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=words) as error:
        load_atoms(tmp_path / name)
    assert not re.search(r"[.!?]\s", str(error.value).replace(str(tmp_path), ""))


def test_an_unexpected_element_is_named():
    with pytest.raises(InputError, match=r"\['S'\] are not among \['Mo'\]"):
        from_ase(ase.Atoms("MoS2"), species=("Mo",))
