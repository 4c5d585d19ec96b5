"""Vacancies, substitutions and ripples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from jax.test_util import check_grads

from jaxaet.core import InputError
from jaxaet.specimen import monolayer, with_ripple, with_substitutions, with_vacancies

SHEET = monolayer("MoS2", (30.0, 16.0))


@given(count=st.sampled_from([0, 1, 40]), seed=st.integers(0, 99))
def test_random_vacancies_remove_their_number_and_move_nothing(count, seed):
    left = with_vacancies(SHEET, count, key=jax.random.key(seed))
    assert len(left) == len(SHEET) - count
    here = {tuple(row) for row in np.asarray(SHEET.positions)}
    assert {tuple(row) for row in np.asarray(left.positions)} <= here


def test_named_vacancies_remove_those_atoms():
    left = with_vacancies(SHEET, [3, 0])
    np.testing.assert_array_equal(left.positions, np.delete(np.asarray(SHEET.positions), [0, 3], axis=0))


def test_substitutions_change_the_element_and_nothing_else():
    changed = with_substitutions(SHEET, [1, 5], "S")
    assert changed.symbols[[1, 5]].tolist() == ["S", "S"]
    others = np.delete(np.arange(len(SHEET)), [1, 5])
    np.testing.assert_array_equal(changed.composition[others], SHEET.composition[others])
    np.testing.assert_array_equal(changed.positions, SHEET.positions)
    np.testing.assert_array_equal(changed.u2, SHEET.u2)


WRONG = {
    "a number without a key": lambda: with_vacancies(SHEET, 3),
    "more vacancies than atoms": lambda: with_vacancies(SHEET, len(SHEET) + 1, key=jax.random.key(0)),
    "an index past the end": lambda: with_vacancies(SHEET, [len(SHEET)]),
    "an index before the start": lambda: with_substitutions(SHEET, [-len(SHEET) - 1], "S"),
    "an element without a column": lambda: with_substitutions(SHEET, [0], "Se"),
}


@pytest.mark.parametrize("what", WRONG)
def test_impossible_defects_are_refused_in_one_sentence(what):
    with pytest.raises(InputError, match=r"^[^.]*; [^.]*\.$"):
        WRONG[what]()


@given(amplitude=st.floats(0.1, 2), wavelength=st.floats(30, 80), direction=st.floats(-3, 3), phase=st.floats(-3, 3))
def test_the_metal_plane_is_the_wave(amplitude, wavelength, direction, phase):
    bent = with_ripple(SHEET, amplitude, wavelength, direction, phase)
    metal = SHEET.symbols == "Mo"
    x, y = np.asarray(SHEET.positions)[metal, :2].T
    along = x * np.cos(direction) + y * np.sin(direction)
    wave = amplitude * np.cos(2 * np.pi * along / wavelength + phase)
    np.testing.assert_allclose(bent.positions[metal, 2], wave, atol=1e-10)
    np.testing.assert_allclose(bent.positions[metal, :2], SHEET.positions[metal, :2], atol=1e-12)


@given(amplitude=st.floats(0.1, 2), wavelength=st.floats(30, 80))
def test_bending_keeps_the_thickness_to_second_order(amplitude, wavelength):
    """The chalcogens follow the normal, so their separation grows by (1 + slope²)^(1/2) and no more."""
    bent = with_ripple(SHEET, amplitude, wavelength)
    upper, lower = (np.asarray(bent.positions)[np.asarray(SHEET.positions[:, 2]) * side > 0] for side in (1, -1))
    steepest = 2 * np.pi * amplitude / wavelength
    thickness = np.linalg.norm(upper - lower, axis=1) / (2 * np.asarray(SHEET.positions[:, 2]).max())
    assert (thickness >= 1 - 1e-12).all()
    assert thickness.max() <= np.sqrt(1 + steepest**2) + 1e-12


@given(amplitude=st.floats(0.5, 2), wavelength=st.floats(30, 80), phase=st.floats(-3, 3))
def test_columns_stand_on_the_bent_sheet(amplitude, wavelength, phase):
    """What joins the two atoms of a column is normal to the wave at its foot: x' + ζ'(x) z' = 0."""
    flat, bent = (np.asarray(s.positions) for s in (SHEET, with_ripple(SHEET, amplitude, wavelength, 0.0, phase)))
    column = bent[flat[:, 2] > 0] - bent[flat[:, 2] < 0]
    foot = flat[flat[:, 2] > 0, 0]
    slope = -2 * np.pi * amplitude / wavelength * np.sin(2 * np.pi * foot / wavelength + phase)
    np.testing.assert_allclose(column[:, 0] + slope * column[:, 2], 0, atol=1e-10)


def test_a_ripple_fades_from_its_ridge():
    """One rms width off the ridge the wave is exp(-1/2) as high."""
    row = monolayer("graphene", (60.0, 60.0))
    flat, bent = (
        np.asarray(row.positions),
        np.asarray(with_ripple(row, 1.0, 1e9, np.pi / 2, ridge=5.0, decay=8.0).positions),
    )
    np.testing.assert_allclose(bent[:, 2], np.exp(-(((flat[:, 0] - 5) / 8) ** 2) / 2), atol=1e-10)


def test_ripple_gradients_are_exact():
    small = monolayer("MoS2", 7.0)

    def bent(amplitude, wavelength, direction, ridge, decay):
        return with_ripple(small, amplitude, wavelength, direction, 0.2, ridge, decay).positions

    values = tuple(jnp.asarray(v) for v in (1.5, 20.0, 0.4, 1.0, 9.0))
    check_grads(bent, values, order=1, modes=["fwd", "rev"])
    check_grads(lambda a, w: with_ripple(small, a, w).positions, values[:2], order=1)
