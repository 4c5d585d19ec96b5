"""A dear forward model near one model: its derivative for all atoms, and the bound that follows from it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import jaxaet
from jaxaet.inverse import Model, Simulator
from jaxaet.inverse.linearised import coloured, joined, linearised

RANDOM = np.random.default_rng(3)
POSITIONS = np.concatenate([RANDOM.uniform(-4.5, 4.5, (9, 2)), RANDOM.uniform(-1.5, 1.5, (9, 1))], axis=1)
ATOMS = jaxaet.Atoms(POSITIONS, np.ones((9, 1)), 0.02, ("Si",))
MICROSCOPE = jaxaet.Microscope(
    jaxaet.Beam(60e3, 0.03, 0.4, 1e4), jaxaet.AnnularDetector(0.05, 0.2),
    jaxaet.Tilts([[0.1, 0.0, 0.2], [0.0, 0.4, 0.1]], [[0.1, 0.0], [0.0, -0.2]]), jaxaet.Grid((48, 44), 0.3),
    [1.0, 1.2], [1.0, 2.0],
)  # fmt: skip
MODEL = Model(ATOMS, MICROSCOPE)


def free(model):
    tilts = model.microscope.tilts
    return model.atoms.positions, tilts.angles, tilts.shifts, model.microscope.scale, model.microscope.offset


def made():
    """`Linear` linearised: cheap, and with a derivative of its own to compare with."""
    images = jaxaet.Linear()(ATOMS, MICROSCOPE).data
    views = [Model(ATOMS, MICROSCOPE.view(index)) for index in range(2)]
    return joined([linearised(jaxaet.Linear(), view, images[i : i + 1], reach=4.0) for i, view in enumerate(views)])


def test_its_value_and_its_derivative_are_those_of_the_forward_model():
    forward = made()
    leaves = free(MODEL)
    step = jax.tree.map(lambda leaf: jnp.asarray(RANDOM.normal(size=leaf.shape), leaf.dtype), leaves)

    def images(model, leaves):
        moved = eqx.tree_at(free, MODEL, leaves)
        return model(moved.atoms, moved.microscope).data

    here, along = jax.jvp(lambda v: images(forward, v), (leaves,), (step,))
    expected, slope = jax.jvp(lambda v: images(jaxaet.Linear(), v), (leaves,), (step,))
    np.testing.assert_allclose(here, expected, rtol=1e-5, atol=1e-4)
    assert np.abs(along - slope).max() < 3e-3 * np.abs(slope).max()


def test_a_simulator_makes_every_image_and_derivative_once():
    made_here: list[str] = []

    def stage(name, make):
        made_here.append(name)
        return make()

    simulator = Simulator(jaxaet.Linear(), stage)
    first = simulator.linearised(MODEL)
    np.testing.assert_allclose(simulator.images(MODEL), first(ATOMS, MICROSCOPE).data, rtol=1e-5)
    assert made_here == ["series_0_image_1", "series_0_image_2", "series_0_derivative_1", "series_0_derivative_2"]


def test_its_bound_is_that_of_the_forward_model():
    data = jaxaet.Linear()(ATOMS, MICROSCOPE)
    bounds = [
        jaxaet.fisher(jaxaet.Problem(forward, MODEL, data, free, jaxaet.Poisson()))
        for forward in (made(), jaxaet.Linear())
    ]
    np.testing.assert_allclose(*[np.trace(bound, axis1=1, axis2=2) for bound in bounds], rtol=0.03)


def test_squares_of_one_colour_do_not_overlap():
    corners = RANDOM.integers(0, 100, (200, 2))
    colours = coloured(corners, 9)
    assert colours.min() == 0
    for colour in range(colours.max() + 1):
        own = corners[colours == colour]
        away = np.abs(own[:, None] - own[None]).max(axis=-1) + 100 * np.eye(len(own))
        assert away.min() >= 9


def test_atoms_outside_the_image_change_nothing():
    far = eqx.tree_at(lambda a: a.positions, ATOMS, ATOMS.positions.at[0].set(jnp.array([60.0, 0.0, 0.0])))
    view = Model(far, MICROSCOPE.view(0))
    found = linearised(jaxaet.Linear(), view, jaxaet.Linear()(far, view.microscope).data)
    assert not np.any(found.patches[0, 0])
    assert np.any(found.patches[0, 1])


def test_a_vibrating_stage_has_a_bound_too():
    vibrating = eqx.tree_at(
        lambda m: m.vibration, MICROSCOPE, jaxaet.StageVibration([0.3, 0.3], [0.4, 0.4], [0.1, 0.1]),
        is_leaf=lambda leaf: leaf is None,
    )  # fmt: skip
    model = Model(ATOMS, vibrating)
    data = jaxaet.Linear()(ATOMS, vibrating)
    problem = jaxaet.Problem(jaxaet.Linear(), model, data, free, jaxaet.Poisson())
    blurred = jaxaet.fisher(eqx.tree_at(lambda p: p.forward, problem, Simulator(jaxaet.Linear()).linearised(model)))
    np.testing.assert_allclose(jaxaet.fisher(problem), blurred, rtol=1e-3, atol=1e-3 * np.abs(blurred).max())
    still = jaxaet.fisher(jaxaet.Problem(jaxaet.Linear(), MODEL, data, free, jaxaet.Poisson()))
    assert np.trace(blurred, axis1=1, axis2=2).mean() > np.trace(still, axis1=1, axis2=2).mean()
