"""The lines of docs/conventions.md: each test fails when its line is no longer true."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.constants import c, e, h, m_e
from scipy.spatial.transform import Rotation

import jaxaet

ROOT = Path(__file__).resolve().parents[1]
angle = st.floats(-1.5, 1.5)
angles = st.tuples(angle, angle, angle).map(np.array)


def microscope(shape=(24, 29), tilts=((0.0, 0.0, 0.0),), sampling=0.5) -> jaxaet.Microscope:
    return jaxaet.Microscope(
        beam=jaxaet.Beam(energy=60e3, semi_angle=0.03, dose=1e3),
        detector=jaxaet.AnnularDetector(inner=0.06, outer=0.2),
        tilts=jaxaet.Tilts(tilts),
        grid=jaxaet.Grid(shape, sampling),
    )


def atom(position, weight=1.0) -> jaxaet.Atoms:
    return jaxaet.Atoms([position], [[weight]], 0.01, ("W",))


@jax.jit
def see(atoms, microscope) -> jax.Array:
    return jaxaet.Linear()(atoms, microscope).data


def example() -> jax.Array:
    return see(atom((0.3, 0.2, 1.0)), microscope())


def brightest(image) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(np.argmax(image), image.shape))


def test_every_test_named_in_the_conventions_exists():
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "conventions.md").read_text(encoding="utf-8"))
    assert sorted(named) == sorted(name for name in globals() if name.startswith("test_") and "_every_" not in name)


@pytest.mark.parametrize("energy", [30e3, 60e3, 300e3])
def test_lengths_are_in_angstrom_and_energies_in_electronvolt(energy):
    """λ = h / sqrt(2 m E (1 + E / 2 m c²)) in SI units; the mass grows by E / m c²."""
    beam = jaxaet.Beam(energy, semi_angle=0.03)
    ratio = energy * e / (m_e * c**2)
    metres = h / np.sqrt(2 * m_e * energy * e * (1 + ratio / 2))
    np.testing.assert_allclose(beam.wavelength, metres * 1e10, rtol=1e-8)
    np.testing.assert_allclose(beam.mass_ratio, 1 + ratio, rtol=1e-8)


@pytest.mark.parametrize("shape", [(24, 29), (25, 24)])
def test_the_origin_is_at_pixel_n_over_2(shape):
    assert brightest(see(atom((0, 0, 0)), microscope(shape))[0]) == (shape[0] // 2, shape[1] // 2)


def test_an_image_is_row_y_column_x_from_the_smallest_y():
    assert brightest(see(atom((2.5, -1.5, 0)), microscope())[0]) == (24 // 2 - 3, 29 // 2 + 5)


def test_the_beam_travels_along_z():
    images = [see(atom((1.2, -0.7, z)), microscope()) for z in (-20.0, 30.0)]
    np.testing.assert_allclose(*images, rtol=1e-12)


@given(angles=angles)
def test_angles_are_intrinsic_z_y_x_and_right_handed(angles):
    np.testing.assert_allclose(
        jaxaet.rotation_matrix(jnp.asarray(angles)), Rotation.from_euler("ZYX", angles).as_matrix(), atol=1e-12
    )


@given(angles=angles)
def test_euler_angles_undo_the_rotation_matrix(angles):
    np.testing.assert_allclose(jaxaet.euler_angles(jaxaet.rotation_matrix(jnp.asarray(angles))), angles, atol=1e-9)


def test_an_atom_at_r_is_seen_at_the_transpose_of_r():
    """A height z seen under theta moves to x' = -z sin(theta), under psi to y' = +z sin(psi)."""
    tilts = ((0.0, np.pi / 6, 0.0), (0.0, 0.0, np.pi / 6), (np.pi / 2, 0.0, 0.0))
    seen = microscope((33, 33), tilts)
    up = see(atom((0, 0, 5.0)), seen)
    assert [brightest(image) for image in up[:2]] == [(16, 16 - 5), (16 + 5, 16)]
    assert brightest(see(atom((5.0, 0, 0)), seen)[2]) == (16 - 10, 16)


def test_a_shift_moves_the_image_and_not_the_object():
    seen = microscope()
    shifted = dataclasses.replace(seen, tilts=jaxaet.Tilts(seen.tilts.angles, [[1.0, -0.5]]))
    images = [see(a, m) for a, m in ((atom((1.0, -0.5, 0)), seen), (atom((0, 0, 0)), shifted))]
    np.testing.assert_allclose(*images, rtol=1e-10)


@given(cycles=st.tuples(st.integers(-12, 11), st.integers(-14, 14)))
def test_fourier_transforms_have_no_factor_and_count_cycles_per_angstrom(cycles):
    grid = microscope().grid
    (fy, fx), (y, x) = grid.frequencies(), grid.coordinates()
    wave = np.exp(2j * np.pi * (fy[cycles[0]] * np.asarray(y)[:, None] + fx[cycles[1]] * np.asarray(x)[None]))
    transform = np.abs(np.fft.fft2(wave))
    assert transform[cycles] == pytest.approx(wave.size)
    assert np.max(fx) < 1 / (2 * grid.sampling) <= -np.min(fy)


@given(weight=st.floats(0, 1))
def test_what_is_missing_from_a_composition_is_vacancy(weight):
    whole, part = (see(atom((0.3, 0.2, 0), w), microscope()) for w in (1.0, weight))
    np.testing.assert_allclose(part, weight * whole, rtol=1e-10, atol=1e-12)


def test_single_and_double_precision_agree():
    """In a process of its own, since JAX keeps double-precision constants once it has traced them."""
    program = "from test_conventions import *; image = example(); print(image.dtype, image.ravel().tolist())"
    environment = os.environ | {"JAX_ENABLE_X64": "0", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True
    )
    dtype, values = result.stdout.split(" ", 1)
    double = example()
    assert (dtype, str(double.dtype)) == ("float32", "float64")
    np.testing.assert_allclose(json.loads(values), double.ravel(), atol=1e-5 * float(double.max()))


WRONG = {
    "grid without pixels": lambda: jaxaet.Grid((0, 4), 0.3),
    "angles of another count": lambda: jaxaet.Images(jnp.ones((2, 4, 4)), jnp.zeros((3, 3)), jaxaet.Grid((4, 4), 0.3)),
    "images of another size": lambda: jaxaet.Images(jnp.ones((2, 4, 5)), jnp.zeros((2, 3)), jaxaet.Grid((4, 4), 0.3)),
    "unknown species": lambda: jaxaet.Atoms.from_symbols([[0, 0, 0]], ["W"], species=("Mo",)),
    "rows of another count": lambda: jaxaet.Atoms(jnp.zeros((2, 3)), jnp.ones((3, 1)), 0.0, ("W",)),
}


@pytest.mark.parametrize("what", WRONG)
def test_doubtful_input_is_refused_in_one_sentence(what):
    with pytest.raises(jaxaet.InputError, match=r"^[A-Z0-9][^.!?]*;[^!?]*\.$"):
        WRONG[what]()
