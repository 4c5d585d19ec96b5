"""The linear model against a sum written pixel by pixel, and what no image may depend on."""

import dataclasses
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.spatial.transform import Rotation
from strategies import arrays, atoms, microscopes

from jaxaet.core import Grid, euler_angles, project, rotation_matrix
from jaxaet.forward import Dense, Linear, Tiled, object_transfer, probe_profile
from jaxaet.forward.splat import NEGLIGIBLE
from jaxaet.instrument import AnnularDetector, Beam, Microscope, StageVibration, Tilts
from jaxaet.specimen import Atoms

SPECIES, SHAPE = ("Mo", "S", "Se"), (37, 50)
ROOMY = Tiled(size=40, tiles=9, slots=10)  # larger than the reach of 16 pixels of `microscope()`
TRACED = []
NONE: dict = {"is_leaf": lambda leaf: leaf is None}
five_atoms = partial(atoms, counts=(5,), species=[SPECIES])
two_images = partial(microscopes, images=(2,), shapes=(SHAPE,))
both_ways = pytest.mark.parametrize("splat", [Dense(), ROOMY], ids=["dense", "tiled"])
profile = jax.jit(probe_profile, static_argnums=0)
reach = eqx.filter_jit(Linear().reach)


@eqx.filter_jit
def see(model: Linear, atoms: Atoms, microscope: Microscope) -> jax.Array:
    TRACED.append(model)
    return model(atoms, microscope).data


def specimen(n: int, extent: float, seed: int = 0) -> Atoms:
    rng = np.random.default_rng(seed)
    composition = rng.uniform(0, 1, (n, 3)) * rng.integers(0, 2, (n, 3))
    u2, species_u2 = rng.uniform(0.002, 0.05, n), rng.uniform(0.001, 0.02, 3)
    return Atoms(rng.uniform(-extent, extent, (n, 3)), composition, u2, SPECIES, species_u2)


def microscope(shape=SHAPE, sampling=0.35, source=0.5) -> Microscope:
    beam, detector = Beam(60e3, 0.038, source, dose=2e4), AnnularDetector(0.05, 0.21)
    tilts = Tilts([[0.1, 0.4, -0.3], [-0.2, 0.0, 0.5]], [[0.3, -0.7], [0.0, 1.1]])
    return Microscope(beam, detector, tilts, Grid(shape, sampling), [0.9, 1.2], [2.0, 3.0])


def tiled(atoms: Atoms, microscope: Microscope) -> Linear:
    """`Linear.plan` without its preference for `Dense` where atoms are few."""
    tilts = microscope.tilts
    points = microscope.grid.pixels(project(atoms.positions, tilts.angles) + tilts.shifts[:, None])
    return Linear(Tiled.plan(np.asarray(points), float(reach(atoms, microscope)), microscope.grid.shape))


def pixel_by_pixel(atoms: Atoms, microscope: Microscope) -> np.ndarray:
    """Counts = scale · dose · pixel area · Σ a exp(-r²/2v) / (2 pi v) + offset, one Gaussian of one atom at a time."""
    beam, detector, grid = microscope.beam, microscope.detector, microscope.grid
    amplitudes, widths = (np.asarray(x) for x in profile(atoms.species, beam, detector))
    amplitudes = amplitudes * np.broadcast_to(detector.response, len(atoms.species))[:, None]
    y, x = (np.asarray(axis) for axis in grid.coordinates())
    images = np.zeros((len(microscope.scale), *grid.shape))
    for k, angles in enumerate(np.asarray(microscope.tilts.angles)):
        frame = Rotation.from_euler("ZYX", angles).as_matrix()
        for row, r in enumerate(np.asarray(atoms.positions)):
            content = np.asarray(atoms.composition[row])
            shared = content @ np.asarray(atoms.species_u2) / content.sum() if content.any() else 0.0
            column, line = (frame.T @ r)[:2] + np.asarray(microscope.tilts.shifts[k])
            distance2 = (x[None] - column) ** 2 + (y[:, None] - line) ** 2
            for s, weight in enumerate(content):
                for g, width in enumerate(widths + float(atoms.u2[row]) + shared):
                    images[k] += weight * amplitudes[s, g] * np.exp(-distance2 / (2 * width)) / (2 * np.pi * width)
        images[k] *= float(microscope.scale[k] * beam.dose * grid.sampling**2)
    return images + np.asarray(microscope.offset)[:, None, None]


@pytest.mark.parametrize("n", [0, 1, 5])
def test_dense_is_the_sum_over_atoms_and_gaussians(n):
    model = specimen(n, 12.0)
    seen = eqx.tree_at(lambda m: m.detector.response, microscope(), jnp.array([1.0, 0.8, 1.1]))
    assert_same(see(Linear(), model, seen), pixel_by_pixel(model, seen), 1e-10)


def test_tiled_is_the_same_sum_up_to_what_is_negligible():
    """Atoms up to 20 Å from the centre of an image of 22 × 41 Å: within it, across its edges and far outside."""
    model, seen = specimen(120, 16.0), microscope((64, 117))
    exact = pixel_by_pixel(model, seen)
    error = np.abs(see(tiled(model, seen), model, seen) - exact).max() / exact.max()
    assert 1e-12 < error < NEGLIGIBLE  # the first: else the tiles were not in use


def test_plan_chooses_by_the_number_of_atoms():
    few, many = (Linear.plan(specimen(n, 12.0), microscope()).splat for n in (12, 120))
    assert isinstance(few, Dense)
    assert isinstance(many, Tiled)


@both_ways
@given(left=five_atoms(), right=five_atoms())
def test_atoms_add(splat, left, right):
    seen = microscope()
    together, *apart = (see(Linear(splat), a, seen) for a in (left.join(right), left, right))
    dark = seen.offset[:, None, None]
    assert_same(together - dark, apart[0] + apart[1] - 2 * dark)


@both_ways
@given(model=five_atoms(extent=2.0), rows=st.integers(-4, 4), columns=st.integers(-4, 4))
def test_whole_pixels_move_the_image_unchanged(splat, model, rows, columns):
    seen = eqx.tree_at(lambda m: m.tilts.angles, microscope(), jnp.zeros((2, 3)))
    step = jnp.array([[columns, rows, 0.0]]) * seen.grid.sampling
    moved = eqx.tree_at(lambda a: a.positions, model, model.positions + step)
    here, there = (see(Linear(splat), a, seen) for a in (model, moved))
    inner = (slice(None), slice(4, -4), slice(4, -4))
    assert_same(jnp.roll(here, (rows, columns), (1, 2))[inner], there[inner], 1e-11 if splat == Dense() else NEGLIGIBLE)


@given(model=five_atoms(), seen=two_images(), turn=arrays((3,), -0.4, 0.4).map(jnp.asarray))
def test_a_turned_specimen_is_an_oppositely_turned_series(model, seen, turn):
    """r → Q r together with R_k → Q R_k leaves every R_kᵀ r as it was."""
    q = rotation_matrix(turn)
    turned = eqx.tree_at(lambda a: a.positions, model, model.positions @ q.T)
    tilts = Tilts(euler_angles(q[None] @ rotation_matrix(seen.tilts.angles)), seen.tilts.shifts)
    assert_same(see(Linear(), turned, dataclasses.replace(seen, tilts=tilts)), see(Linear(), model, seen), 1e-9)


@both_ways
@given(model=five_atoms(extent=3.0))
def test_a_wide_image_holds_dose_times_cross_section(splat, model):
    """Whatever the blur and the pixels: Σ counts = scale · dose · Σ composition · cross-section."""
    seen = eqx.tree_at(lambda m: m.offset, microscope(sampling=0.8, source=0.8), jnp.zeros(2))
    cross_sections = jax.jit(object_transfer, static_argnums=0)(SPECIES, seen.beam, seen.detector, jnp.zeros(1))[:, 0]
    expected = seen.scale * seen.beam.dose * jnp.sum(model.composition @ cross_sections)
    tolerance = 1e-9 if splat == Dense() else 10 * NEGLIGIBLE
    np.testing.assert_allclose(see(Linear(splat), model, seen).sum(axis=(1, 2)), expected, rtol=tolerance, atol=1e-9)


@given(model=five_atoms(), seen=two_images(), factor=st.floats(0.1, 10))
def test_counts_are_proportional_to_composition_dose_response_and_scale(model, seen, factor):
    dark = seen.offset[:, None, None]
    expected = factor * (see(Linear(), model, seen) - dark)
    more = (
        (eqx.tree_at(lambda a: a.composition, model, factor * model.composition), seen),
        (model, eqx.tree_at(lambda m: m.beam.dose, seen, factor * seen.beam.dose)),
        (model, eqx.tree_at(lambda m: m.detector.response, seen, factor * seen.detector.response)),
        (model, eqx.tree_at(lambda m: m.scale, seen, factor * seen.scale)),
    )
    for changed_atoms, changed_microscope in more:
        assert_same(see(Linear(), changed_atoms, changed_microscope) - dark, expected)


@given(model=five_atoms(), parts=st.tuples(*[arrays((5, 3), 0.0, 1.0)] * 2))
def test_a_mixed_atom_is_the_mixture_of_its_species(model, parts):
    seen = eqx.tree_at(lambda m: m.offset, microscope(), jnp.zeros(2))
    mixtures = (*parts, 0.3 * parts[0] + 0.7 * parts[1])
    models = [eqx.tree_at(lambda a: a.composition, model, jnp.asarray(c)) for c in mixtures]
    one, other, mixed = (see(Linear(), m, seen) for m in models)
    assert_same(mixed, 0.3 * one + 0.7 * other)


def test_a_series_is_its_views_one_by_one():
    model, seen = specimen(5, 6.0), microscope()
    views = [see(Linear(), model, seen.view(k))[0] for k in range(2)]
    assert_same(np.stack(views), see(Linear(), model, seen))


@both_ways
def test_other_values_do_not_trace_again(splat):
    images = [see(Linear(splat), specimen(5, 5.0), microscope())]
    before = len(TRACED)
    images += [see(Linear(splat), specimen(5, 4.0, seed), microscope(SHAPE, 0.3, 0.6)) for seed in (1, 2)]
    assert len(TRACED) == before
    assert len({float(image.sum()) for image in images}) == 3


def test_many_microscopes_at_once():
    """`jax.vmap` over instruments gives what one call for each gives."""
    model = specimen(5, 5.0)
    several = [microscope(source=source) for source in (0.3, 0.5, 0.7)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *several)
    together = jax.jit(jax.vmap(lambda m: Linear()(model, m).data))(stacked)
    assert_same(together, np.stack([see(Linear(), model, m) for m in several]))


def assert_same(found, expected, tolerance: float = 1e-11):
    """Within a fraction of the largest count."""
    np.testing.assert_allclose(found, expected, atol=tolerance * max(1.0, float(np.abs(expected).max())), rtol=0)


def shaken(seen: Microscope, amplitude: float, width: float) -> Microscope:
    vibration = StageVibration([0.4, 2.1], amplitude, width)
    return eqx.tree_at(lambda m: m.vibration, seen, jax.tree.map(lambda x: jnp.broadcast_to(x, 2), vibration), **NONE)


@pytest.mark.parametrize(("amplitude", "width"), [(0.0, 0.0), (0.0, 0.2), (0.3, 0.0), (0.5, 0.1)])
def test_vibration_blurs_as_its_transfer_function_says(amplitude, width):
    atoms, seen = specimen(6, 2.0), microscope((72, 72), 0.3, source=0.7)
    seen = shaken(seen, amplitude, width)
    still = eqx.tree_at(lambda m: m.vibration, seen, None)
    qy, qx = seen.grid.frequencies()
    qx, qy = (jnp.broadcast_to(q, (2, 72, 72)) for q in (qx[None, None], qy[None, :, None]))
    offset = seen.offset[:, None, None]
    spectrum = jnp.fft.fft2(see(Linear(), atoms, still) - offset) * seen.vibration.transfer(qx, qy)
    expected = np.asarray(jnp.fft.ifft2(spectrum).real + offset)
    found = np.asarray(see(Linear(), atoms, seen))
    allowed = 2e-3 * (amplitude / 0.7) ** 6 + 0.2 * (width / 0.7) ** 6 + 1e-6
    assert np.abs(found - expected).max() <= allowed * expected.max()
    np.testing.assert_allclose(found.sum(axis=(1, 2)), expected.sum(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_allclose(see(Linear(ROOMY), atoms, seen), found, atol=5 * NEGLIGIBLE * found.max())


def test_vibration_has_a_slope_even_at_rest():
    atoms, seen = specimen(4, 2.0), shaken(microscope(), 0.0, 0.0)
    slope = eqx.filter_grad(lambda m: jnp.sum(Linear()(atoms, m).data ** 2))(seen).vibration
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))
