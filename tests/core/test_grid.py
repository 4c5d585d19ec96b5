"""The pixel and Fourier conventions, and data that does not fit them."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from strategies import arrays

from jaxaet.core import Grid, Images, InputError

shapes = st.sampled_from([(1, 1), (4, 7), (5, 8)])


@given(shape=shapes, sampling=st.floats(0.05, 3))
def test_the_coordinate_of_pixel_n_over_2_is_zero_and_the_next_is_one_pixel_up(shape, sampling):
    for n, axis in zip(shape, Grid(shape, sampling).coordinates(), strict=True):
        assert axis[n // 2] == 0
        np.testing.assert_allclose(np.diff(axis), sampling)


@given(shape=shapes, sampling=st.floats(0.05, 3), row=st.integers(0, 7), column=st.integers(0, 7))
def test_pixels_undo_coordinates(shape, sampling, row, column):
    row, column = row % shape[0], column % shape[1]
    grid = Grid(shape, sampling)
    y, x = grid.coordinates()
    np.testing.assert_allclose(grid.pixels(jnp.array([x[column], y[row]])), [column, row], atol=1e-9)


@given(shape=shapes, sampling=st.floats(0.05, 3))
def test_an_axis_in_pixels_times_its_frequency_steps_is_one_turn(shape, sampling):
    """Frequency 1 of n pixels makes one period over n pixels of `sampling` Å."""
    for n, frequencies in zip(shape, Grid(shape, sampling).frequencies(), strict=True):
        if n > 2:
            np.testing.assert_allclose(frequencies[1] * n * sampling, 1)
        assert frequencies[0] == 0


@given(shift=arrays((2,), -3, 3))
def test_a_phase_ramp_moves_an_image_along_its_axes(shift):
    """F(g) exp(-2πi g·s) moves by s = (x, y): the sign and the order of the axes at once."""
    grid = Grid((24, 20), 0.5)
    (y, x), (fy, fx) = grid.coordinates(), grid.frequencies()
    blob = lambda x0, y0: np.exp(-((x[None, :] - x0) ** 2 + (y[:, None] - y0) ** 2) / 0.8)  # noqa: E731
    ramp = np.exp(-2j * np.pi * (np.asarray(fx)[None] * shift[0] + np.asarray(fy)[:, None] * shift[1]))
    moved = np.fft.ifft2(np.fft.fft2(blob(0.0, 0.0)) * ramp).real
    # What leaves one edge comes in at the other; 3 Å off centre that is below this tolerance.
    np.testing.assert_allclose(moved[4:-4, 4:-4], blob(*shift)[4:-4, 4:-4], atol=2e-2)


WRONG = {
    "no columns": lambda: Grid((3, 0), 0.3),
    "images of the grid's transpose": lambda: Images(np.zeros((2, 3, 4)), np.zeros((2, 3)), Grid((4, 3), 0.3)),
    "one angle for two images": lambda: Images(np.zeros((2, 3, 4)), np.zeros((1, 3)), Grid((3, 4), 0.3)),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_refused(what):
    with pytest.raises(InputError, match="give"):
        WRONG[what]()
