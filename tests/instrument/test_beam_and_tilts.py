"""The beam against tables, the tilt presets against the paper's table S2."""

from pathlib import Path

import equinox as eqx
import numpy as np
import pytest
from hypothesis import given, strategies as st
from strategies import microscopes

from jaxaet.core import Grid, InputError
from jaxaet.instrument import AnnularDetector, Beam, Microscope, Tilts

TABLE_S2 = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "aet" / "mos2_wse2_tableS2_angles.csv"


# Kirkland, Advanced Computing in Electron Microscopy; Reimer & Kohl, Transmission Electron Microscopy, table 2.2.
@pytest.mark.parametrize(
    ("energy", "wavelength"), [(60e3, 0.04866), (100e3, 0.03701), (200e3, 0.02508), (300e3, 0.01969)]
)
def test_wavelengths_are_the_tabulated_ones(energy, wavelength):
    assert float(Beam(energy, 0.03).wavelength) == pytest.approx(wavelength, abs=6e-6)


@given(energy=st.floats(1e3, 3e6))
def test_energy_and_momentum_obey_relativity(energy):
    """(p c)² + (m c²)² = (γ m c²)² with p = h / λ and γ the mass ratio."""
    beam, rest, planck = Beam(energy, 0.03), 510998.95, 12398.419843320026
    total = float(beam.mass_ratio) * rest
    np.testing.assert_allclose(total, rest + energy, rtol=1e-12)
    np.testing.assert_allclose((planck / float(beam.wavelength)) ** 2 + rest**2, total**2, rtol=1e-10)


def test_tilts_are_table_s2():
    if not TABLE_S2.exists():
        pytest.skip("The paper's table S2 is not beside this checkout.")
    rows = np.genfromtxt(TABLE_S2, delimiter=",", names=True)
    calibrated = np.stack([rows["phi_Z_deg"], rows["theta_Y_deg"], rows["psi_X_deg"]], axis=1)
    np.testing.assert_allclose(np.rad2deg(Tilts.heterojunction().angles), calibrated, atol=1e-12)
    nominal = np.rad2deg(Tilts.heterojunction_nominal().angles)
    np.testing.assert_allclose(nominal[:, 0], 0, atol=1e-12)
    np.testing.assert_allclose(np.abs(nominal[:, 1]), np.abs(rows["nominal_alpha_deg"]), atol=1e-12)
    np.testing.assert_allclose(np.abs(nominal[:, 2]), np.abs(rows["nominal_beta_deg"]), atol=1e-12)


def test_brightness_is_one_number_per_image():
    parts = Beam(60e3, 0.03), AnnularDetector(0.05, 0.2), Tilts(np.zeros((3, 3))), Grid((8, 8), 0.3)
    assert Microscope(*parts, scale=2.0).scale.tolist() == [2.0] * 3
    with pytest.raises(ValueError, match=r"shape|broadcast"):
        Microscope(*parts, scale=[1.0, 2.0])


@given(microscope=microscopes(images=(3,)), image=st.integers(0, 2))
def test_the_view_of_one_image_has_its_own_tilt_and_brightness(microscope, image):
    view = microscope.view(image)
    for part in (lambda m: m.tilts.angles, lambda m: m.tilts.shifts, lambda m: m.scale, lambda m: m.offset):
        np.testing.assert_array_equal(part(view), part(microscope)[image : image + 1])
    assert eqx.tree_equal((view.grid, view.beam), (microscope.grid, microscope.beam))


def test_the_background_lies_under_the_offset_and_belongs_to_its_image():
    parts = Beam(60e3, 0.03), AnnularDetector(0.05, 0.2), Tilts(np.zeros((3, 3))), Grid((4, 6), 0.3)
    under = np.random.default_rng(0).uniform(size=(3, 4, 6))
    microscope = Microscope(*parts, scale=7.0, offset=[1.0, 2.0, 3.0], background=under)
    np.testing.assert_allclose(microscope.pedestal, under + np.array([1.0, 2.0, 3.0])[:, None, None])
    np.testing.assert_array_equal(microscope.view(1).pedestal, microscope.pedestal[1:2])
    with pytest.raises(InputError, match="A background of"):
        Microscope(*parts, background=under[:, :3])


@pytest.mark.parametrize(("angles", "shifts"), [(np.zeros((3, 2)), None), (np.zeros((3, 3)), np.zeros((2, 2)))])
def test_tilts_of_another_shape_are_refused(angles, shifts):
    with pytest.raises(InputError, match="give"):
        Tilts(angles, shifts)
