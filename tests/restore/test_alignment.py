"""Shifts of a tilt series that has no lattice to hold on to."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxaet
from jaxaet.core import Images
from jaxaet.recipes import tilt_series
from jaxaet.recipes.config import TiltSeriesConfig
from jaxaet.restore import centre_of_mass, common_line

GRID = jaxaet.Grid((72, 72), 0.4)
ANGLES = np.deg2rad([[0, angle, 0] for angle in (-60, -40, -20, 0, 25, 45, 65)])
SHIFTS = np.random.default_rng(3).uniform(-1.5, 1.5, (7, 2))


@pytest.fixture(scope="module")
def series():
    """A lopsided cloud of atoms around its centre of mass."""
    positions = np.random.default_rng(0).normal(size=(150, 3)) * [2.5, 2.0, 1.5]
    positions = np.concatenate([positions, np.random.default_rng(1).normal(size=(60, 3)) * 0.8 + [4, -3, 2]])
    positions -= positions.mean(axis=0)
    atoms = jaxaet.Atoms.from_symbols(positions, ["Au"] * len(positions), u2=0.05)
    beam, detector = jaxaet.Beam(300e3, 0.03, 0.3, 1e3), jaxaet.AnnularDetector(0.06, 0.2)
    microscope = jaxaet.Microscope(beam, detector, jaxaet.Tilts(ANGLES, SHIFTS), GRID)
    return jaxaet.Linear()(atoms, microscope)


def test_the_centre_of_mass_is_the_shift(series):
    found = centre_of_mass(series)
    assert np.sqrt(np.mean((np.asarray(found) - SHIFTS) ** 2)) < 0.1 * 0.4  # the tails leave the images


@pytest.mark.parametrize("tilted", [ANGLES, ANGLES + np.deg2rad([[3.0, 0, 8.0]])], ids=["one axis", "other axes"])
def test_the_common_line_is_the_shift_along_the_axis(series, tilted):
    positions = np.random.default_rng(5).normal(size=(90, 3)) * [2.5, 2.0, 1.5]
    atoms = jaxaet.Atoms.from_symbols(positions - positions.mean(axis=0), ["Au"] * 90, u2=0.05)
    beam, detector = jaxaet.Beam(300e3, 0.03, 0.3, 1e3), jaxaet.AnnularDetector(0.06, 0.2)
    seen = jaxaet.Linear()(atoms, jaxaet.Microscope(beam, detector, jaxaet.Tilts(tilted, SHIFTS), GRID))
    assert np.sqrt(np.mean((np.asarray(common_line(seen)) - SHIFTS) ** 2)) < 0.1 * 0.4


def test_a_faint_halo_moves_the_common_line_less_than_the_centre_of_mass(series):
    """Something that only some images show, at one edge."""
    halo = np.zeros(series.data.shape)
    halo[::2, -12:, :] = 0.02 * float(jnp.max(series.data))
    images = Images(series.data + halo, series.angles, series.grid)
    by_mass, by_line = (np.abs(np.asarray(f(images)) - SHIFTS)[::2, 1].mean() for f in (centre_of_mass, common_line))
    assert by_line < 0.5 * by_mass


def test_a_shifted_series_has_shifted_shifts(series):
    moved = Images(jnp.roll(series.data, (2, -3), axis=(1, 2)), series.angles, series.grid)
    for found in (centre_of_mass, common_line):
        np.testing.assert_allclose(found(moved) - found(series), [[-1.2, 0.8]] * 7, atol=0.02)


def test_gradient_by_finite_differences(series):
    weight = jnp.asarray(np.random.default_rng(2).normal(size=(7, 2)))

    def loss(gain):
        data = series.data * (1 + gain)
        return jnp.sum(weight * centre_of_mass(eqx.tree_at(lambda i: i.data, series, data)))

    at = jnp.asarray(0.1 * np.random.default_rng(4).normal(size=(1, 72, 72)))
    check_grads(jax.jit(loss), (at,), order=1, modes=["rev"], rtol=1e-4)


def test_other_values_do_not_retrace(series):
    before = common_line._cache_size()
    common_line(series)
    common_line(Images(2 * series.data, series.angles, series.grid))
    assert common_line._cache_size() <= before + 1


@pytest.mark.parametrize("alignment", ["none", "centre_of_mass", "common_line"])
def test_the_recipe_starts_from_the_alignment(series, tmp_path, alignment):
    np.savez(tmp_path / "a.npz", projections=series.data, angles_deg=np.rad2deg(ANGLES), pixel_size_A=0.4)
    tree = {"data": {"path": tmp_path / "a.npz"}, "specimen": {"species": ["Au"]}}
    config = TiltSeriesConfig(**tree, calibration={"alignment": alignment})
    shifts = tilt_series.microscope(config, tilt_series.load(config).images).tilts.shifts
    away = np.sqrt(np.mean((np.asarray(shifts) - SHIFTS) ** 2))
    assert away < 0.05 if alignment != "none" else away > 0.5
