"""Fits find the truth from a disturbed start, by every method, and say how they ended."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from inverse_cases import CHOICES, images, problem, truth

from jaxaet.core import InputError, project, rigid_alignment
from jaxaet.forward import Linear, count
from jaxaet.inverse import FirstOrder, GaussNewton, Poisson, Problem, preconditioner, solve
from jaxaet.inverse.normal import normal_matrix
from jaxaet.specimen import Atoms

COMBINATIONS = [
    ("positions",),
    ("u2", "positions"),
    ("angles", "shifts", "scale", "species_u2"),
    ("positions", "angles", "shifts", "scale", "offset", "species_u2"),
]


def seen(model) -> jax.Array:
    """Where each atom is seen in each image: free of the gauge of positions, angles and shifts."""
    tilts = model.microscope.tilts
    return project(model.atoms.positions, tilts.angles) + tilts.shifts[:, None]


def error(model) -> float:
    """The largest distance in Å of an atom from the truth, after the best rigid alignment."""
    q, t = rigid_alignment(model.atoms.positions, truth().atoms.positions)
    return float(jnp.abs(model.atoms.positions @ q.T + t[None] - truth().atoms.positions).max())


@pytest.mark.parametrize("names", COMBINATIONS, ids="+".join)
def test_gauss_newton_finds_the_truth(names):
    fit = problem(names)
    solution = solve(fit, GaussNewton(max_steps=15))
    assert error(solution.model) < 1e-3
    np.testing.assert_allclose(seen(solution.model), seen(truth()), atol=1e-3)
    for name in set(names) - {"positions", "angles", "shifts"}:
        leaf, start_error = CHOICES[name]
        np.testing.assert_allclose(leaf(solution.model), leaf(truth()), atol=0.02 * start_error)
    assert solution.losses[-1] < 1e-6 * solution.losses[0]
    assert (np.diff(solution.losses) <= 0).all()


def test_blocks_do_it_too(monkeypatch):
    """As for other forward models and for specimens too large to factorise."""
    monkeypatch.setattr(preconditioner, "AFFORDABLE", 0.0)
    fit = problem(COMBINATIONS[-1])
    assert isinstance(GaussNewton().start(fit, jnp.ones(())).preconditioner, preconditioner.Blocks)
    solution = solve(fit, GaussNewton(max_steps=15))
    assert error(solution.model) < 1e-3
    assert solution.losses[-1] < 1e-3


@pytest.mark.parametrize("optimiser", [optax.adam(0.02), optax.lbfgs()], ids=["adam", "lbfgs"])
def test_first_order_methods_go_the_same_way(optimiser):
    fit = problem(("positions",))
    solution = solve(fit, FirstOrder(optimiser, max_steps=60))
    assert solution.losses[-1] < 0.02 * solution.losses[0]
    assert error(solution.model) < 0.5 * error(fit.model)


def test_occupancies_are_found():
    """With one species `composition` is how much of an atom there is; some of the starting means are negative."""
    model = eqx.tree_at(lambda m: m.atoms, truth(), Atoms(truth().atoms.positions, np.ones((30, 1)), 0.02, ("Mo",)))
    partly = np.random.default_rng(0).uniform(0.0, 1.0, (30, 1))
    there = eqx.tree_at(lambda m: m.atoms.composition, model, jnp.asarray(partly))
    data = eqx.filter_jit(Linear())(there.atoms, there.microscope)
    start = eqx.tree_at(lambda m: m.atoms.composition, model, jnp.where(partly > 0.5, partly, -0.5))
    fit = Problem(Linear(), start, data, lambda m: m.atoms.composition, Poisson())
    assert eqx.filter_jit(Linear())(start.atoms, start.microscope).data.min() < 0
    np.testing.assert_allclose(solve(fit).model.atoms.composition, partly, atol=1e-4)


@pytest.fixture(scope="module")
def noisy():
    data = count(images(), jax.random.key(0))
    return problem(("positions",), data=data)


def test_a_noisy_fit_converges_to_the_noise(noisy):
    """Twice the loss is a sum of squares with one degree of freedom for each pixel, less the 90 coordinates."""
    steps = []
    solution = solve(noisy, GaussNewton(), on_step=lambda step, loss: steps.append((step, loss)))
    pixels = solution.images.size
    assert solution.result.startswith(f"Converged after {len(steps)} steps: ")
    assert 2 * solution.losses[-1] == pytest.approx(pixels - 90, abs=6 * np.sqrt(2 * pixels))
    assert steps == [(i + 1, float(loss)) for i, loss in enumerate(solution.losses)]
    again = dataclasses.replace(noisy, model=solution.model)
    further = solve(again, GaussNewton(tolerance=1e-6)).model.atoms.positions - solution.model.atoms.positions
    normal = normal_matrix(again, 20.0)
    standard_errors = np.sqrt(np.diagonal(np.linalg.inv(normal))).reshape(-1, 3)
    assert np.sqrt(np.mean((further / standard_errors) ** 2)) < 0.02


def test_a_fit_cut_short_says_so(noisy):
    result = solve(noisy, GaussNewton(max_steps=1)).result
    assert result == "Stopped after the largest allowed number of steps, 1; allow more steps."


def test_a_fit_at_the_rounding_of_its_loss_says_so():
    solution = solve(problem(("positions",)), GaussNewton(max_steps=40))
    assert solution.result.endswith("no shorter step lowers the loss at this precision.")
    assert error(solution.model) < 1e-6


def test_the_solution_holds_the_images_of_its_model(noisy):
    solution = solve(noisy, GaussNewton(max_steps=2))
    fresh = eqx.filter_jit(Linear())(solution.model.atoms, solution.model.microscope)
    np.testing.assert_allclose(solution.images, fresh.data, rtol=1e-10)
    assert 0 < float(solution.r1) < 0.2
    assert 0 < float(solution.r) < 1


@pytest.mark.parametrize("method", [GaussNewton(), FirstOrder()], ids=["second", "first"])
@pytest.mark.parametrize("where", [lambda p: p.data.data, lambda p: p.model.atoms.positions], ids=["data", "model"])
def test_nan_in_the_data_or_in_the_model_is_refused(method, where):
    broken = eqx.tree_at(where, problem(("positions",)), replace_fn=lambda x: x.at[(0,) * x.ndim].set(jnp.nan))
    with pytest.raises(InputError, match=r"^The start of the fit has no finite loss; look for NaN"):
        solve(broken, method)
