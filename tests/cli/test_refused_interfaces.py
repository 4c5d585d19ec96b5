"""Atoms from which no phonons can be made end the command with one sentence."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

from jaxaet.cli import jax_setup
from jaxaet.cli.main import app
from jaxaet.io import save_atoms
from jaxaet.recipes import phonons_interface
from jaxaet.recipes.config import PhononsInterfaceConfig
from jaxaet.specimen import Atoms, interface_cell, lateral_heterojunction, monolayer

SMALL = ["supercell.rows=[2, 2]", "supercell.columns=2", "spectra.mesh=[1, 2]", "spectra.samples=2"]


def junction():
    """A small flat junction without defects."""
    return lateral_heterojunction(
        size=45.0, offset=4.0, ripple_amplitude=0.0, vacancies=0, vacancies_at_interface=0, substitutions=0,
        key=jax.random.key(0),
    )  # fmt: skip


def inside(atoms, row=0):
    """An atom of the strip that is cut, a chalcogen of its first or last rows."""
    cell = interface_cell(atoms, rows=(2, 2), columns=2)
    chosen = np.flatnonzero((cell.basis == 1) & (cell.cells[:, 0] == row % 4))
    return int(cell.source[chosen[0]])


def crowded(atoms):
    """The upper chalcogen of a column comes within half an Å of the lower one."""
    upper = inside(atoms)
    height = float(atoms.positions[upper, 2])
    return eqx.tree_at(lambda a: a.positions, atoms, atoms.positions.at[upper, 2].set(0.5 - height))


def gilded(atoms):
    """One chalcogen of the strip is gold."""
    symbols = list(atoms.symbols)
    symbols[inside(atoms)] = "Au"
    return Atoms.from_symbols(np.asarray(atoms.positions), symbols)


def nowhere(atoms):
    """One position is not a number."""
    return eqx.tree_at(lambda a: a.positions, atoms, atoms.positions.at[0, 0].set(jnp.nan))


CASES = {
    "crowded": (lambda: crowded(junction()), [], "of the sheet are 0.50 Å apart; allowed at least 1 Å"),
    "gilded": (lambda: gilded(junction()), ["data.sigma_pm={Mo: 4, S: 15, W: 6, Se: 15, Au: 5}"], "['Au'] are not in"),
    "without error bars": (lambda: gilded(junction()), [], "data.sigma_pm says nothing of Au"),
    "valence": (lambda: gilded(junction()), ["lattice.energy=valence"], "data.sigma_pm says nothing of Au"),
    "one crystal": (lambda: monolayer("MoS2", 30.0), [], "no W in the sheet"),
    "too large a strip": (junction, ["supercell.rows=[20, 20]"], "give fewer rows or columns, or a larger sheet"),
    "nowhere": (lambda: nowhere(junction()), [], "not finite"),
    "nothing": (lambda: Atoms(np.zeros((0, 3)), np.zeros((0, 2)), 0.0, ("Mo", "W")), [], "holds no atoms"),
    "one atom": (
        lambda: Atoms.from_symbols([[0, 0, 0], [3, 0, 0]], ["Mo", "W"]),
        [],
        "2 metals and 0 chalcogens make no sheet",
    ),
    "metals alone": (
        lambda: junction().select(np.isin(junction().symbols, ["Mo", "W"])),
        [],
        "0 chalcogens make no sheet",
    ),
}


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs the recipe in this process, and gives the exit code and what was printed to the error stream."""
    monkeypatch.setattr(jax_setup, "prepare", lambda precision: None)
    (tmp_path / "phonons.yaml").write_text("recipe: phonons_interface\n")

    def run(*changes):
        options = [text for change in changes for text in ("--set", change)]
        given = ["run", str(tmp_path / "phonons.yaml"), *options, "--out", str(tmp_path / "out"), "--quiet"]
        return CliRunner().invoke(app, given)

    return run


@pytest.mark.parametrize("name", CASES)
def test_impossible_atoms_end_in_one_sentence(name, command, tmp_path):
    make, changes, words = CASES[name]
    save_atoms(tmp_path / "atoms.extxyz", make())
    result = command(f"data.atoms={tmp_path / 'atoms.extxyz'}", *SMALL, *changes)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_files_that_are_none_end_in_one_sentence(command, tmp_path):
    (tmp_path / "damaged.extxyz").write_text("3\nLattice=\nMo 0 0\n")
    for name, words in (("none.extxyz", "found no file"), ("damaged.extxyz", "could not be read")):
        result = command(f"data.atoms={tmp_path / name}")
        assert result.exit_code == 2
        assert words in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


def test_vacancies_of_a_file_are_no_atoms(tmp_path):
    atoms = junction()
    chosen = inside(atoms)
    empty = eqx.tree_at(lambda a: a.composition, atoms, atoms.composition.at[chosen].set(0.0))
    save_atoms(tmp_path / "atoms.extxyz", empty)
    found, sigma = phonons_interface.measured_atoms(PhononsInterfaceConfig(data={"atoms": tmp_path / "atoms.extxyz"}))
    assert len(found) == len(sigma) == len(atoms) - 1
    assert interface_cell(found, rows=(2, 2), columns=2).vacancies == 1
