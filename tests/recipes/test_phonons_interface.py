"""The recipe that turns a measured interface into phonons."""

import json

import numpy as np
import pytest

from jaxaet.core import InputError
from jaxaet.io import load_arrays, load_atoms, load_error_bars, save_atoms
from jaxaet.recipes import phonons_interface
from jaxaet.recipes.beyond_bulk import sentence
from jaxaet.recipes.config import PhononsInterfaceConfig
from jaxaet.recipes.run_folder import RunFolder
from jaxaet.recipes.spectra import energies_of
from jaxaet.specimen import Atoms

SMALL = {
    "supercell": {"rows": (2, 2), "columns": 2},
    "spectra": {"mesh": (1, 2), "path_steps": 3, "samples": 2, "width_mev": 2.0},
}


def test_a_run_writes_spectra_and_a_sentence_for_each_peak(tmp_path):
    config = PhononsInterfaceConfig(**SMALL)
    with RunFolder.create(tmp_path / "run", config, quiet=True) as folder:
        folder.finish(phonons_interface.run(config, folder))
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["relaxed"]["imaginary_percent"] == 0
    assert metrics["relaxed"]["largest_force_ev_per_a"] < metrics["map"]["largest_force_ev_per_a"]
    assert metrics["map"]["largest_force_ev_per_a"] < metrics["as_measured"]["largest_force_ev_per_a"]
    assert metrics["map"]["residual_matched_percent"] < metrics["map"]["residual_free_percent"]
    assert all(f"{energy} meV:" in metrics["result"] for energy in ("17.5", "28.5", "41.5"))
    arrays = load_arrays(tmp_path / "run" / "results.h5")
    step = arrays["energy"][1] - arrays["energy"][0]
    assert arrays["relaxed_density"].sum() * step == pytest.approx(3, rel=0.06)  # modes of an atom; some below 0
    assert len(load_atoms(tmp_path / "run" / "atoms.extxyz")) <= 24
    assert (tmp_path / "run" / "report.html").stat().st_size > 1e6
    assert phonons_interface.plan(config)["atoms"] == 24
    assert metrics["atoms_from"].startswith("simulated")
    assert metrics["warnings"] == [
        "Error bars of spectra from 2 draws are rough; give 8 draws or more (spectra.samples)."
    ]


def test_a_peak_that_only_other_geometries_have_is_said_to_be_there():
    config = PhononsInterfaceConfig()
    grid = energies_of(config)
    peak, nothing = np.exp(-0.5 * (grid - 41.0) ** 2), 0 * grid
    common = {"density": peak, "energies": np.array([41.0]), "enrichment_interface": np.array([1.9])}
    quiet = {f"residual_{layer}": nothing for layer in ("free", "strained", "matched")} | common
    loud = {f"residual_{layer}": peak for layer in ("free", "strained", "matched")} | common
    loud |= {"residual_spread": 2 * np.ones_like(grid)}
    said = sentence(config, 41.5, {"as_measured": loud, "map": quiet, "relaxed": loud})
    assert "not in the most probable structure; in the coordinates as measured against free bulk" in said
    assert "the last within the noise (0.5 σ)" in said
    assert "in the relaxed interface at 41.00 meV" in said
    assert "1.9 times" in said
    assert sentence(config, 41.5, dict.fromkeys(("as_measured", "map", "relaxed"), quiet)).endswith(
        "no peak beyond bulk."
    )


def test_error_bars_come_from_the_file_or_the_table(tmp_path):
    atoms = Atoms.from_symbols(np.eye(2, 3), ["Mo", "O"])
    sigma = np.full((2, 3), 0.05)
    save_atoms(tmp_path / "with.extxyz", atoms, sigma)
    save_atoms(tmp_path / "without.extxyz", atoms)
    np.testing.assert_allclose(load_error_bars(tmp_path / "with.extxyz"), sigma)
    assert load_error_bars(tmp_path / "without.extxyz") is None
    config = PhononsInterfaceConfig(data={"atoms": tmp_path / "with.extxyz"})
    np.testing.assert_allclose(phonons_interface.measured_atoms(config)[1], sigma)
    save_atoms(tmp_path / "with.extxyz", atoms, np.full((2, 3), np.nan), overwrite=True)
    with pytest.raises(InputError, match="not positive numbers; correct or leave out the column sigma"):
        phonons_interface.measured_atoms(config)
    config = PhononsInterfaceConfig(data={"atoms": tmp_path / "without.extxyz"})
    with pytest.raises(InputError, match=r"says nothing of O and "):
        phonons_interface.measured_atoms(config)
