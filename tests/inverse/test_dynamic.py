"""Dynamic refinement: a strong scatterer above a weak one, which the linear model misplaces."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import jaxaet
from jaxaet.inverse import DenseGaussNewton, JointGradients, Model, Simulator, mimicked, windowed

POSITIONS = np.array([[0.0, 0.0, 1.6], [0.5, 0.3, -1.6], [-1.9, 0.4, 0.0]])
ATOMS = jaxaet.Atoms.from_symbols(POSITIONS, ["W", "S", "S"], u2=0.01, species=("W", "S", "Mo"))
MICROSCOPE = jaxaet.Microscope(
    jaxaet.Beam(60e3, 0.038, 0.5, 1e5), jaxaet.AnnularDetector(0.05, 0.15),
    jaxaet.Tilts([[0.0, 0.0, 0.0], [0.0, 0.35, 0.1], [0.0, -0.2, 0.35]]), jaxaet.Grid((24, 24), 0.32), 1.0, 1.0,
)  # fmt: skip
FORWARD = jaxaet.Multislice.plan(ATOMS, MICROSCOPE, margin=3.0, spacing=4.0)
TRUTH = Model(ATOMS, MICROSCOPE)
DATA = eqx.filter_jit(FORWARD)(ATOMS, MICROSCOPE)


def positions(model):
    return model.atoms.positions


def problem(model, free=positions):
    return jaxaet.Problem(FORWARD, model, DATA, free, jaxaet.Poisson())


def displaced(atom, offset):
    return eqx.tree_at(positions, TRUTH, TRUTH.atoms.positions.at[atom].add(jnp.asarray(offset)))


def error_pm(model):
    return 100 * np.linalg.norm(np.asarray(positions(model)) - POSITIONS, axis=1)


def test_the_linear_model_alone_is_biased_and_rounds_of_correction_mend_it():
    linear = jaxaet.Linear()
    alone = jaxaet.solve(jaxaet.Problem(linear, mimicked(TRUTH, DATA.data), DATA, positions, jaxaet.Poisson()))
    start = eqx.tree_at(positions, TRUTH, positions(alone.model))
    rounds = []
    solution = jaxaet.refine(problem(start), jaxaet.DefectCorrection(5), lambda *seen: rounds.append(seen))
    assert [number for number, _ in rounds] == [1, 2, 3, 4, 5]
    assert error_pm(start).max() > 3.0
    assert error_pm(solution.model).max() < 0.15 * error_pm(start).max()
    assert float(solution.r1) < 0.01


def test_what_mimics_the_dear_images_has_their_brightness():
    """Responses below 1, as every atom but a light one scatters less than Born's approximation; no Mo, no change."""
    response = np.asarray(mimicked(TRUTH, DATA.data).microscope.detector.response)
    assert response[0] < 0.9
    assert response[2] == pytest.approx(1.0)


def test_true_gradients_bring_an_atom_back():
    start = displaced(1, [0.06, -0.05, 0.12])
    solution = jaxaet.refine(problem(start), jaxaet.TrueGradients(6, 24, [1]))
    found = error_pm(solution.model)
    assert found[1] < 0.1 * error_pm(start)[1]
    np.testing.assert_array_equal(found[[0, 2]], 0.0)


def test_joint_gradients_bring_all_atoms_back_at_once():
    start = eqx.tree_at(positions, TRUTH, positions(TRUTH) + 0.03 * jnp.array([[1.0, -1, 1], [-1, 1, 1], [1, 1, -1]]))
    rounds = []
    solution = jaxaet.refine(problem(start), JointGradients(2), lambda *seen: rounds.append(seen))
    assert [number for number, _ in rounds] == [1, 2]
    assert error_pm(solution.model).max() < 0.05 * error_pm(start).max()


def test_a_few_numbers_of_the_instrument_are_found_from_its_images():
    def instrument(model):
        beam = model.microscope.beam
        return beam.semi_angle, beam.source_size, beam.aberrations.c10, model.microscope.detector.inner

    true = jaxaet.Microscope(
        jaxaet.Beam(60e3, 0.034, 0.55, 1e5, jaxaet.Aberrations(c10=15.0)), jaxaet.AnnularDetector(0.053, 0.15),
        MICROSCOPE.tilts, MICROSCOPE.grid, 1.0, 1.0,
    )  # fmt: skip
    data = eqx.filter_jit(FORWARD)(ATOMS, true)
    start = eqx.tree_at(lambda m: m.microscope.beam.aberrations.c10, TRUTH, jnp.asarray(5.0))
    found = jaxaet.solve(
        jaxaet.Problem(FORWARD, start, data, instrument, jaxaet.Poisson()), DenseGaussNewton(8, tolerance=1e-4)
    )
    np.testing.assert_allclose(instrument(found.model), instrument(Model(ATOMS, true)), rtol=0.02)


def test_a_grid_scan_finds_the_nearest_point_of_its_grid():
    start = displaced(1, [0.2, 0.0, -0.3])
    method = jaxaet.GridScan([1], 16, reach=(0.2, 0.0001, 0.3), step=(0.2, 0.2, 0.3))
    kept, steps = {}, []
    dear = Simulator(FORWARD, lambda name, make: kept.setdefault(name, kept.get(name) or make()))
    solution = jaxaet.refine(problem(start), method, lambda step, loss: steps.append((step, loss)), dear)
    assert error_pm(solution.model)[1] < 1e-4
    assert [step for step, _ in steps] == list(range(1, len(method.offsets()) + 1))
    assert steps[-1][1] == min(kept["grid_1"]["r1"])
    jaxaet.refine(problem(start), method, lambda step, loss: steps.append((step, loss)), dear)
    assert len(steps) == len(method.offsets())  # what was kept is not computed again


def test_a_window_is_the_image_around_an_atom():
    window = windowed(problem(TRUTH), TRUTH, 1, 12)
    seen = np.asarray(window.mean(jnp.zeros(3)))
    assert np.abs(seen - np.asarray(window.problem.data.data)).max() < 0.02 * float(DATA.data.max())


def test_both_models_add_what_lies_under_the_specimen_in_windows_too():
    under = np.random.default_rng(1).uniform(1, 2, DATA.data.shape)
    seen = eqx.tree_at(lambda m: m.background, MICROSCOPE, jnp.asarray(under), is_leaf=lambda leaf: leaf is None)
    for forward in (FORWARD, jaxaet.Linear()):
        added = forward(ATOMS, seen).data - forward(ATOMS, MICROSCOPE).data
        np.testing.assert_allclose(added, under, atol=1e-9)
    data, model = jaxaet.Images(DATA.data + under, DATA.angles, DATA.grid), Model(ATOMS, seen)
    window = windowed(jaxaet.Problem(FORWARD, model, data, positions, jaxaet.Poisson()), model, 1, 12)
    assert float(jnp.abs(window.mean(jnp.zeros(3)) - window.problem.data.data).max()) < 0.02 * float(DATA.data.max())


def test_what_makes_no_sense_is_refused():
    with pytest.raises(jaxaet.InputError, match="needs no dynamic refinement"):
        jaxaet.refine(
            jaxaet.Problem(jaxaet.Linear(), TRUTH, DATA, positions, jaxaet.Poisson()), jaxaet.DefectCorrection()
        )
    with pytest.raises(jaxaet.InputError, match=r"Atoms \[7\] are not among 3"):
        jaxaet.refine(problem(TRUTH), jaxaet.GridScan([7]))
    with pytest.raises(jaxaet.InputError, match="0 rounds refine nothing"):
        jaxaet.DefectCorrection(0)
