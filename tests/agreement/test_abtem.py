"""The multislice model against abTEM, given the same potential, and abTEM's potential against ours."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxaet
from jaxaet.core import rotation_matrix
from jaxaet.forward import Cell, Slabs, diffraction_patterns, exit_waves
from jaxaet.forward.potential import species_gaussians
from jaxaet.io import from_abtem, to_abtem, to_abtem_potential

abtem = pytest.importorskip("abtem", reason="abTEM is not installed")
build = pytest.importorskip("ase.build")

DETECTOR = jaxaet.AnnularDetector(0.05, 0.21)
PROBES = np.array([[0.0, 0.0], [0.4, 0.3], [1.1, -0.7]])


@pytest.fixture(autouse=True)
def double_precision_without_taper():
    """abTEM smooths its band limit over 1 % of it; a hard one is ours."""
    with abtem.config.set({"precision": "float64", "diagnostics.progress_bar": False, "antialias.taper": 0.0}):
        yield


def graphene():
    return jaxaet.monolayer("graphene", 16.0), 60e3, 0.031, Cell(176, 18.0)


def heterojunction(view=6):
    junction = jaxaet.lateral_heterojunction(size=26.0, offset=2.0, key=jax.random.key(0))
    turned = junction.positions @ rotation_matrix(jaxaet.Tilts.heterojunction().angles[view])
    keep = np.all(np.abs(turned[:, :2]) < 8.5, axis=1)
    return jaxaet.Atoms.from_symbols(turned[keep], junction.symbols[keep]), 60e3, 0.038, Cell(244, 18.0)


def silicon():
    """Si [110], 10 nm thick."""
    crystal = build.bulk("Si", "diamond", a=5.431, cubic=True)
    return cut(crystal, ([1, -1, 0], [0, 0, 1], [1, 1, 0]), 100.0, 6.0), 200e3, 0.020, Cell(128, 14.0)


def gold():
    """Au [100], 4 nm thick."""
    crystal = build.bulk("Au", "fcc", a=4.078, cubic=True)
    return cut(crystal, np.eye(3), 40.0, 6.0), 300e3, 0.020, Cell(176, 14.0)


def cut(crystal, axes, thickness, half):
    axes = np.asarray(axes, float) / np.linalg.norm(axes, axis=1, keepdims=True)
    many = crystal * (30, 30, 30)
    points = (many.positions - many.positions.mean(axis=0)) @ axes.T + 0.01
    keep = np.all(np.abs(points) < [half, half, thickness / 2], axis=1)
    return jaxaet.Atoms.from_symbols(points[keep], np.array(many.get_chemical_symbols())[keep])


def theirs(atoms, beam, cell, slabs, table="lobato"):
    """abTEM's probe and our own potential as its `PotentialArray`, and the propagator from its end to our last slab."""
    potential, top = to_abtem_potential(atoms, beam, cell, slabs, table)
    lens = refocused(beam, -(top - float(slabs.thickness) / 2))  # abTEM focuses on its first slice
    probe = to_abtem(lens, float(cell.length), cell.pixels)
    ky, kx = (np.asarray(k) for k in cell.frequencies())
    back = np.exp(1j * np.pi * float(beam.wavelength) * float(slabs.thickness) * (kx**2 + ky**2))
    return probe, potential, back


def refocused(beam, c10):

    return eqx.tree_at(lambda b: b.aberrations.c10, beam, beam.aberrations.c10 + c10)


@pytest.mark.parametrize("specimen", [graphene, heterojunction, silicon, gold])
@pytest.mark.parametrize("table", ["lobato", "kirkland"])
def test_exit_waves_and_diffraction_patterns(specimen, table):
    """The same potential, slices and band: what is left is rounding and the constants of nature."""
    atoms, energy, semi_angle, cell = specimen()
    beam = jaxaet.Beam(energy, semi_angle, aberrations=jaxaet.Aberrations(c10=20.0, c12=(8.0, -5.0), c30=1e4))
    thickness = 2.0 if specimen is silicon else 1.0
    extent = float(np.ptp(np.asarray(atoms.positions[:, 2])))
    slabs = Slabs(int(np.ceil(extent / thickness)) + 4, thickness, finer=1)
    probe, potential, back = theirs(atoms, beam, cell, slabs, table)
    middle = float(cell.length) / cell.pixels * (cell.pixels // 2)
    scan = abtem.CustomScan(PROBES + middle)
    found = np.fft.fft2(from_abtem(probe.multislice(potential, scan=scan, lazy=False))) * back
    start = np.fft.fft2(from_abtem(probe.build(scan=scan, lazy=False)))
    found /= np.sqrt((np.abs(start) ** 2).sum(axis=(1, 2), keepdims=True))
    ours = exit_waves(atoms, beam, cell, PROBES, slabs, table=table)
    patterns = np.asarray(diffraction_patterns(ours))
    assert np.abs(np.abs(found) ** 2 - patterns).max() < 3e-4 * patterns.max()
    plane = abtem.PlaneWave(energy=energy, extent=float(cell.length), gpts=cell.pixels)
    wave = np.fft.ifft2(np.fft.fft2(from_abtem(plane.multislice(potential, lazy=False))) * back)
    intensity = np.abs(np.asarray(exit_waves(atoms, beam, cell, None, slabs, table=table))[0]) ** 2
    assert np.abs(np.abs(wave) ** 2 - intensity).max() < 3e-4 * intensity.max()


def test_dark_field_images_of_twelve_tilts():
    """Every tilt of table S2: a row of scan points over a patch of the heterojunction, 50 to 210 mrad."""
    worst = 0.0
    for view in range(12):
        atoms, energy, semi_angle, cell = heterojunction(view)
        beam = jaxaet.Beam(energy, semi_angle)
        extent = float(np.ptp(np.asarray(atoms.positions[:, 2])))
        slabs = Slabs(int(np.ceil(extent)) + 4, 1.0, finer=1)
        probe, potential, _ = theirs(atoms, beam, cell, slabs)
        points = np.stack([np.arange(4) * 0.32, np.full(4, 0.16)], axis=1)
        middle = float(cell.length) / cell.pixels * (cell.pixels // 2)
        scan = abtem.CustomScan(points + middle)
        found = probe.scan(potential, scan=scan, detectors=to_abtem(DETECTOR), lazy=False).array
        patterns = np.asarray(diffraction_patterns(exit_waves(atoms, beam, cell, points, slabs)))
        ky, kx = (np.asarray(k) for k in cell.frequencies())
        angle = np.hypot(kx, ky) * float(beam.wavelength)
        ours = patterns[:, (angle >= 0.05) & (angle < 0.21)].sum(axis=1)
        worst = max(worst, np.abs(found - ours).max() / ours.max())
    assert worst < 1e-3


def test_abtems_own_potential_approaches_ours_as_its_pixels_shrink():
    """abTEM spreads a nucleus over four pixels, which takes 20 % of the scattering factor at 4 / Å with 0.067 Å."""
    atoms, energy, semi_angle, _ = heterojunction()
    beam, missing = jaxaet.Beam(energy, semi_angle), []
    for pixels in (270, 540):
        cell, slab = Cell(pixels, 18.0), Slabs(1, 60.0, finer=1)
        ours = np.fft.fft2(slab.phases(cell, species_gaussians(atoms, beam, "lobato"), jnp.zeros(1))[0])
        ase_atoms = to_abtem(atoms, 18.0, pixels)
        potential = abtem.Potential(ase_atoms, gpts=pixels, slice_thickness=float(ase_atoms.cell[2, 2]))
        interaction = float(beam.mass_ratio * beam.wavelength) / 47.87801
        found = np.fft.fft2(from_abtem(potential.build(lazy=False)).sum(axis=0) * interaction)
        ky, kx = (np.asarray(k) for k in cell.frequencies())
        ring = np.abs(np.hypot(kx, ky) - 4.0) < 0.1
        missing.append(1 - np.abs(found[ring]).mean() / np.abs(ours[ring]).mean())
    assert missing[0] == pytest.approx(0.2, abs=0.03)
    assert missing[1] < 0.3 * missing[0]


def test_there_and_back():
    atoms = jaxaet.monolayer("MoS2", 8.0)
    back = from_abtem(to_abtem(atoms, 12.0), 12.0)
    np.testing.assert_allclose(back.positions[:, :2], atoms.positions[:, :2], atol=1e-12)
    np.testing.assert_allclose(np.diff(back.positions[:, 2]), np.diff(atoms.positions[:, 2]), atol=1e-12)
    beam = jaxaet.Beam(60e3, 0.03, aberrations=jaxaet.Aberrations(-15.0, (8.0, -5.0), (30.0, 4.0), c30=1e4))
    again = from_abtem(to_abtem(beam))
    np.testing.assert_allclose(again.aberrations.c12, beam.aberrations.c12, rtol=1e-9)
    np.testing.assert_allclose(again.aberrations.c21, beam.aberrations.c21, rtol=1e-9)
    assert float(again.aberrations.c10) == pytest.approx(-15.0)
    assert float(from_abtem(to_abtem(DETECTOR)).outer) == pytest.approx(0.21)


def test_what_abtem_cannot_take_is_refused():
    atoms = jaxaet.monolayer("MoS2", 8.0)
    with pytest.raises(jaxaet.InputError, match="give a length of at least"):
        to_abtem(atoms, 4.0)
    with pytest.raises(jaxaet.InputError, match="no counterpart"):
        to_abtem(jaxaet.Tilts([[0.0, 0.0, 0.0]]))
    with pytest.raises(jaxaet.InputError, match="cannot be converted"):
        from_abtem(3)
