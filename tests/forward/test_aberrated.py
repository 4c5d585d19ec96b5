"""Incoherent images through an aberrated probe."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxaet
from jaxaet.forward import Aberrated
from jaxaet.forward.aberrated import probe_transfer
from jaxaet.forward.profile import aperture_transfer
from jaxaet.instrument import Aberrations, AnnularDetector, Beam, Microscope, Tilts

GRID = jaxaet.Grid((72, 80), 0.2)


def microscope(c10=0.0, c12=(0.0, 0.0), grid=GRID):
    beam = Beam(80e3, 0.03, 0.3, 100.0, Aberrations(c10=c10, c12=c12))
    return Microscope(beam, AnnularDetector(0.06, 0.2), Tilts([[0.1, 0.2, 0.0]]), grid)


@pytest.fixture
def atoms():
    positions = np.array([[0.3, -0.2, 1.0], [1.7, 0.9, -1.0], [-2.1, 1.1, 0.0]])
    return jaxaet.Atoms.from_symbols(positions, ["W", "S", "S"], u2=0.01)


def test_the_transfer_without_aberrations_is_the_overlap_of_two_discs():
    grid = jaxaet.Grid((256, 256), 0.1)
    beam = microscope(grid=grid).beam
    ky, kx = grid.frequencies()
    q = np.hypot(ky[:, None], kx[None])
    expected = aperture_transfer(jnp.asarray(q * beam.wavelength / (2 * beam.semi_angle)))
    np.testing.assert_allclose(probe_transfer(beam, grid).real, expected, atol=0.02)  # the aperture's edge is soft


def test_the_width_of_a_defocused_probe_is_that_of_the_wave():
    """A sharp aperture and its phase, written out."""
    grid = jaxaet.Grid((256, 256), 0.1)
    beam = microscope(c10=60.0, c12=(20.0, -10.0), grid=grid).beam
    ours = jnp.fft.ifft2(probe_transfer(beam, grid)).real
    ky, kx = jnp.meshgrid(*grid.frequencies(), indexing="ij")
    inside = np.asarray(jnp.hypot(kx, ky) * beam.wavelength) <= float(beam.semi_angle)
    wave = np.fft.ifft2(inside * np.exp(-1j * np.asarray(beam.aberrations.phase(kx, ky, beam.wavelength))))
    other = np.abs(wave) ** 2 / np.sum(np.abs(wave) ** 2)
    assert np.abs(ours - other).max() < 0.03 * other.max()


def test_electrons_are_moved_and_not_lost(atoms):
    sharp, blurred = (float(jnp.sum(Aberrated()(atoms, microscope(c10)).data)) for c10 in (0.0, 80.0))
    linear = float(jnp.sum(jaxaet.Linear()(atoms, microscope()).data))
    assert blurred == pytest.approx(sharp, rel=0.01)
    assert sharp == pytest.approx(linear, rel=0.02)  # the tails of both reach beyond the image


def test_without_aberrations_it_is_the_linear_model(atoms):
    """But for the size of an atom, which is a point here, and Gaussians there instead of the probe itself."""
    ours, linear = Aberrated()(atoms, microscope()).data, jaxaet.Linear()(atoms, microscope()).data
    assert float(jnp.max(jnp.abs(ours - linear))) < 0.1 * float(jnp.max(linear))


def test_gradient_by_finite_differences(atoms):
    target = Aberrated()(atoms, microscope(40.0, (10.0, 5.0))).data

    def loss(positions, c10, c12, milliradians):
        changed = eqx.tree_at(lambda a: a.positions, atoms, positions)
        where = lambda m: (m.beam.aberrations.c10, m.beam.aberrations.c12, m.beam.semi_angle)  # noqa: E731
        seen = eqx.tree_at(where, microscope(), (c10, c12, 1e-3 * milliradians))
        return jnp.sum((Aberrated()(changed, seen).data - target) ** 2) / jnp.sum(target**2)

    at = (atoms.positions, jnp.asarray(30.0), jnp.array([6.0, 9.0]), jnp.asarray(28.0))
    check_grads(jax.jit(loss), at, order=1, modes=["rev"], rtol=1e-3)


def test_other_values_do_not_retrace(atoms):
    traced = []

    @jax.jit
    def image(atoms, microscope):
        traced.append(1)
        return Aberrated()(atoms, microscope).data

    first, second = image(atoms, microscope(20.0)), image(atoms, microscope(50.0))
    assert len(traced) == 1
    assert float(jnp.max(jnp.abs(first - second))) > 0
