"""Scattering factors against closed forms: the hydrogen atom, g = 0 and the Rutherford limit."""

from functools import partial

import ase.data
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from jax.test_util import check_grads

from jaxaet.core import InputError
from jaxaet.forward.scattering import electron_form_factor, species_table

BOHR = 0.529177210903  # Å, CODATA 2018
ELEMENTS = tuple(ase.data.chemical_symbols[1:104])
form_factors = jax.jit(partial(electron_form_factor, ELEMENTS))


def test_forward_scattering_is_twice_the_sum_of_a():
    a, _ = species_table(ELEMENTS)
    np.testing.assert_allclose(form_factors(jnp.zeros(())), 2 * a.sum(1), rtol=1e-12)


def test_hydrogen_is_the_first_born_1s_atom():
    """f_e = (1 - 1 / (1 + π² a₀² g²)²) / (2π² a₀ g²): fixes the units of f and of g at once."""
    g = np.linspace(0.05, 10, 200)
    exact = (1 - 1 / (1 + (np.pi * BOHR * g) ** 2) ** 2) / (2 * np.pi**2 * BOHR * g**2)
    np.testing.assert_allclose(electron_form_factor(("H",), jnp.asarray(g))[0], exact, rtol=1e-4)


def test_large_angles_follow_rutherford():
    """f_e → Z / (2π² a₀ g²), the Mott-Bethe limit of a bare nucleus, for every element of the table."""
    g = 1e5
    rutherford = np.arange(1, len(ELEMENTS) + 1) / (2 * np.pi**2 * BOHR * g**2)
    np.testing.assert_allclose(form_factors(jnp.asarray(g)), rutherford, rtol=1e-5)


@given(g=st.floats(0, 15))
def test_positive_and_falling(g):
    near, far = form_factors(jnp.asarray([g, g + 0.1])).T
    assert (near > far).all()
    assert (far > 0).all()


@given(g=st.floats(0.1, 8))
def test_gradient(g):
    check_grads(form_factors, (jnp.asarray([[g, g + 0.3]]),), order=1)


def test_gradient_vanishes_at_the_origin():
    check_grads(form_factors, (jnp.zeros(2),), order=1)
    assert not jax.jacfwd(form_factors)(jnp.zeros(())).any()


def test_unknown_symbol_is_named():
    with pytest.raises(InputError, match=r"\['Xx'\].*chemical symbols"):
        electron_form_factor(("Mo", "Xx"), jnp.zeros(3))
