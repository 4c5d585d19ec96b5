"""What lies under the specimen is found along with it."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from inverse_cases import images, problem, truth

from jaxaet.core import Grid, Images
from jaxaet.inverse import solve
from jaxaet.inverse.background import Smooth

WIDTH = 3.0


def over_hills() -> tuple[Images, np.ndarray]:
    """The images of the truth over a hill that is different in each, and the hills."""
    data, grid = images().data, images().grid
    y, x = (np.asarray(axis) for axis in grid.coordinates())
    middle = np.linspace(-6, 6, len(data))[:, None, None]
    hills = 10 * np.exp(-0.5 * ((x[None, None] - middle) ** 2 + (y[None, :, None] + middle) ** 2) / 9.0**2)
    return Images(data + hills, images().angles, grid), hills


def test_a_smooth_image_stays_as_it_is_and_an_atom_does_not():
    grid = Grid((40, 52), 0.3)
    flat = jnp.full((2, 40, 52), 3.0)
    np.testing.assert_allclose(Smooth.of(grid, WIDTH)(flat), flat, rtol=1e-6)
    atom = jnp.zeros((1, 40, 52)).at[0, 20, 26].set(1.0)
    spread = Smooth.of(grid, WIDTH)(atom)
    assert float(spread.max()) == pytest.approx(0.3**2 / (2 * np.pi * WIDTH**2), rel=0.1)


def test_atoms_over_hills_are_found_with_the_hills():
    data, hills = over_hills()
    start = problem(("positions",), data=data)

    def error(width):
        chosen = dataclasses.replace(start, background=width)
        solution = solve(chosen)
        np.testing.assert_allclose(chosen.mean(chosen.free(solution.model)), solution.images, rtol=1e-5)
        return solution.model, np.abs(np.asarray(solution.model.atoms.positions - truth().atoms.positions)).max()

    _, flat = error(None)
    model, found = error(Smooth.of(images().grid, WIDTH))
    assert found < 0.1 * flat
    under = np.asarray(model.microscope.background)
    assert np.sqrt(np.mean((under - hills) ** 2)) < 0.4 * np.std(hills)


def test_a_background_given_before_does_not_count():
    data, _ = over_hills()
    chosen = dataclasses.replace(problem(("positions",), data=data), background=Smooth.of(images().grid, WIDTH))
    again = dataclasses.replace(chosen, model=chosen.with_leaves(chosen.leaves))
    assert again.model.microscope.background is not None
    np.testing.assert_allclose(again.mean(again.leaves), chosen.mean(chosen.leaves), rtol=1e-6)
