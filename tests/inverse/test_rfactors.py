"""R factors against their formulas, one image at a time."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from strategies import arrays

from jaxaet.inverse import r1_factor, r_factor

series = arrays((2, 4, 5), 0.1, 100.0).map(jnp.asarray)


@given(data=series, model=series)
def test_r1_is_equation_5(data, model):
    scale = np.vdot(data, model) / np.vdot(model, model)
    each = [np.abs(d - scale * m).sum() / np.abs(d).sum() for d, m in zip(data, model, strict=True)]
    assert float(r1_factor(data, model)) == pytest.approx(np.mean(each), rel=1e-10)


@given(data=series, model=series)
def test_r_compares_all_fourier_magnitudes(data, model):
    observed, computed = (np.abs(np.array([np.fft.fft2(image) for image in images])) for images in (data, model))
    expected = np.abs(observed - computed).sum() / observed.sum()
    assert float(r_factor(data, model)) == pytest.approx(expected, rel=1e-10)


@given(data=series, factor=st.floats(0.1, 10))
def test_a_perfect_model_has_no_r_factor(data, factor):
    """R1 asks for the shape of the images only; R for their brightness as well."""
    assert float(r1_factor(data, factor * data)) == pytest.approx(0, abs=1e-12)
    assert float(r_factor(data, factor * data)) == pytest.approx(abs(factor - 1), abs=1e-12)
