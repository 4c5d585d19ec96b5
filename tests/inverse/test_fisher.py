"""The Cramér-Rao bound against a closed form and against an ensemble of fits."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxaet.core import Grid, InputError
from jaxaet.forward import Linear, count
from jaxaet.instrument import AnnularDetector, Beam, Microscope, StageVibration, Tilts
from jaxaet.inverse import Gaussian, Model, Poisson, Problem, fisher, isolated_bound, solve
from jaxaet.specimen import Atoms

DETECTOR = AnnularDetector(0.05, 0.21)


def positions_only(model):
    return (model.atoms.positions,)


def scene(positions, angles, dose=3e4):
    microscope = Microscope(
        Beam(6e4, 0.038, 0.5, dose), DETECTOR, Tilts(np.deg2rad(angles)), Grid((40, 40), 0.32), 1.0, 2.0
    )
    atoms = Atoms.from_symbols(positions, ["Mo"] * len(positions), 0.005)
    return Model(atoms, microscope)


def test_a_far_away_axis_adds_as_the_number_of_images():
    once = scene([[0.3, -0.2, 0.1]], [[0, 0, 0], [0, 60, 0], [0, -60, 0]])
    twice = scene([[0.3, -0.2, 0.1]], [[0, 0, 0], [0, 60, 0], [0, -60, 0]] * 2)
    bounds = []
    for model in (once, twice):
        data = Linear()(model.atoms, model.microscope)
        bounds.append(fisher(Problem(Linear(), model, data, positions_only, Poisson()))[0])
    np.testing.assert_allclose(bounds[0], 2 * bounds[1], rtol=1e-5)


def test_gaussian_noise_gives_the_bound_of_the_jacobian():
    model = scene([[0.3, -0.2, 0.1]], [[0, 0, 0], [0, 60, 0], [0, -60, 0]])
    data = Linear()(model.atoms, model.microscope)
    problem = Problem(Linear(), model, data, positions_only, Gaussian(3.0))
    jacobian = np.asarray(jax.jacfwd(lambda p: problem.mean((p,)))(model.atoms.positions)).reshape(-1, 3)
    np.testing.assert_allclose(fisher(problem)[0], 9 * np.linalg.inv(jacobian.T @ jacobian), rtol=2e-3, atol=1e-12)


def test_error_bars_are_calibrated():
    positions = np.array([[0, 0, 0], [2.5, 0.4, 0.3], [-2.2, 1.1, -0.6], [0.4, -2.6, 0.8]])
    model = scene(positions, [[0, tilt, 0] for tilt in (-60, -30, 0, 30, 60)])
    mean = Linear()(model.atoms, model.microscope)
    sigma = np.sqrt(np.diagonal(fisher(Problem(Linear(), model, mean, positions_only, Poisson())), axis1=1, axis2=2))
    scores = []
    for seed in range(24):
        problem = Problem(Linear(), model, count(mean, jax.random.key(seed)), positions_only, Poisson())
        scores.append((np.asarray(solve(problem).model.atoms.positions) - positions) / sigma)
    assert 0.8 < np.sqrt(np.mean(np.square(scores))) < 1.2


def test_free_angles_cost_information_but_rigid_motions_do_not_count():
    positions = np.random.default_rng(0).uniform(-4, 4, (12, 3))
    model = scene(positions, [[0, tilt, 0] for tilt in (-60, -30, 0, 30, 60)])
    data = Linear()(model.atoms, model.microscope)
    free = lambda m: (m.atoms.positions, m.microscope.tilts.angles, m.microscope.tilts.shifts)  # noqa: E731
    known = fisher(Problem(Linear(), model, data, positions_only, Poisson()))
    unknown = fisher(Problem(Linear(), model, data, free, Poisson()))
    ratio = np.trace(unknown.sum(axis=0)) / np.trace(known.sum(axis=0))
    assert 0.6 < ratio < 2.0
    assert np.all(np.linalg.eigvalsh(unknown) > 0)


def test_the_bound_is_that_of_positions_after_rigid_alignment():
    """A bright atom beside dim ones: least squares aligns all alike, so the dim ones' noise turns the bright one."""
    model = scene([[0, 0, 0], [2.5, 0.4, 0.3], [-2.2, 1.1, -0.6], [0.4, -2.6, 0.8]], [[0, t, 0] for t in (-50, 0, 60)])
    model = eqx.tree_at(lambda m: m.atoms.composition, model, jnp.array([[1.0], [0.2], [0.2], [0.3]]))

    def free(model):
        return model.atoms.positions, model.microscope.tilts.angles, model.microscope.tilts.shifts

    data = Linear()(model.atoms, model.microscope)
    problem = Problem(Linear(), model, data, free, Gaussian(3.0))
    flat, unravel = jax.flatten_util.ravel_pytree(free(model))
    jacobian = np.asarray(jax.jacfwd(lambda x: problem.mean(unravel(x)))(flat)).reshape(-1, flat.size) / 3.0
    units = np.linalg.norm(jacobian, axis=0)
    covariance = np.linalg.pinv((jacobian / units).T @ (jacobian / units), rcond=1e-9) / (units[:, None] * units)
    positions = np.asarray(model.atoms.positions)
    turns = [np.cross(axis, positions - positions.mean(axis=0)).ravel() for axis in np.eye(3)]
    motions = np.linalg.qr(np.stack([*np.tile(np.eye(3), (1, 4)), *turns], axis=1))[0]
    align = np.eye(12) - motions @ motions.T
    expected = align @ covariance[:12, :12] @ align
    found = fisher(problem)
    for atom in range(4):
        np.testing.assert_allclose(
            found[atom], expected[3 * atom :][:3, 3 * atom :][:, :3], rtol=0.01, atol=1e-3 * found.max()
        )


def test_positions_must_be_free():
    model = scene([[0.0, 0, 0]], [[0, 0, 0], [0, 30, 0], [0, 60, 0]])
    data = Linear()(model.atoms, model.microscope)
    dim = eqx.tree_at(lambda m: m.atoms.u2, model, jnp.asarray([0.01]))
    with pytest.raises(InputError, match="list it first"):
        fisher(Problem(Linear(), dim, data, lambda m: (m.atoms.u2,), Poisson()))


def test_an_atom_alone_has_the_bound_of_all_and_neighbours_only_cost():
    tilts = [[0, tilt, 0] for tilt in (-60, -30, 0, 30, 60)]
    far, near = ([[-3.5, 0, 0], [3.5, 0, 0]], [[-0.6, 0, 0], [0.6, 0, 0]])
    ratio = []
    for positions in (far, near):
        model = scene(positions, tilts)
        problem = Problem(Linear(), model, Linear()(model.atoms, model.microscope), positions_only, Poisson())
        ratio.append(np.trace(isolated_bound(problem), axis1=1, axis2=2) / np.trace(fisher(problem), axis1=1, axis2=2))
    np.testing.assert_allclose(ratio[0], 1.0, rtol=0.02)
    assert np.all(ratio[1] < 0.9)


def test_vibration_along_the_beam_is_none_and_across_it_blurs_the_bound():
    model = scene([[0.0, 0, 0]], [[0, 0, 0], [0, 30, 0]])

    def bound(amplitude):
        vibration = StageVibration([0.0] * 2, [amplitude] * 2, [0.0] * 2)
        shaken = eqx.tree_at(lambda m: m.microscope.vibration, model, vibration, is_leaf=lambda x: x is None)
        data = Linear()(shaken.atoms, shaken.microscope)
        return fisher(Problem(Linear(), shaken, data, positions_only, Poisson()))[0]

    still = fisher(Problem(Linear(), model, Linear()(model.atoms, model.microscope), positions_only, Poisson()))[0]
    np.testing.assert_allclose(bound(0.0), still, rtol=1e-5, atol=1e-12)
    along_x, along_y = (np.sqrt(bound(0.5)[i, i] / still[i, i]) for i in (0, 1))
    assert along_x > 1.05
    assert along_x > 1.02 * along_y
