"""The profile of one atom against independent integrals: cross-section, interference, and the image itself."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from jaxaet.forward import object_transfer, probe_profile, profile_error
from jaxaet.forward.profile import aperture_transfer
from jaxaet.forward.scattering import electron_form_factor
from jaxaet.instrument import AnnularDetector, Beam

SPECIES = ("Mo", "S", "W", "Se")
PAPER = AnnularDetector(0.05, 0.21)
transfer = jax.jit(object_transfer, static_argnums=0)
profile = jax.jit(probe_profile, static_argnums=0)
error_of = jax.jit(profile_error, static_argnums=0)
form_factors = jax.jit(lambda k: electron_form_factor(SPECIES, k))


def gauss(low, high, n: int = 100) -> tuple[np.ndarray, np.ndarray]:
    node, weight = np.polynomial.legendre.leggauss(n)
    return low + 0.5 * (high - low) * (node + 1), 0.5 * (high - low) * weight


def lens_area(d: np.ndarray, a: float, b: float) -> np.ndarray:
    """The area that two discs of radii a and b, their centres d apart, have in common."""
    x, y = (np.clip((d**2 + s * (a**2 - b**2)) / (2 * d), -r, r) for s, r in ((1, a), (-1, b)))
    lens = a**2 * np.arccos(x / a) + b**2 * np.arccos(y / b) - d * np.sqrt(np.maximum(a**2 - x**2, 0))
    return np.where(d >= a + b, 0.0, np.where(d <= abs(a - b), np.pi * min(a, b) ** 2, lens))


def cross_section(beam: Beam, detector: AnnularDetector) -> np.ndarray:
    """gamma² lambda² / |disc| ∫ f²(k) D(k) d²k, with D the common area of the ring and the beam's disc moved by k."""
    disc, inner, outer = (float(x / beam.wavelength) for x in (beam.semi_angle, detector.inner, detector.outer))
    edges = sorted({abs(inner - disc), inner + disc, outer - disc, outer + disc})
    k, weight = np.concatenate([gauss(*panel) for panel in pairwise(edges)], axis=1)
    common = lens_area(k, disc, outer) - lens_area(k, disc, inner)
    total = np.sum(np.asarray(form_factors(jnp.asarray(k))) ** 2 * (2 * np.pi * k * common * weight), axis=1)
    return float(beam.mass_ratio * beam.wavelength) ** 2 * total / (np.pi * disc**2)


@pytest.mark.parametrize("energy", [60e3, 200e3])
@pytest.mark.parametrize(
    ("semi_angle", "inner", "outer"), [(0.038, 0.05, 0.21), (0.030, 0.08, 0.2), (0.0214, 0.039, 0.2)]
)
def test_the_cross_section_is_an_overlap_of_disc_and_ring(energy, semi_angle, inner, outer):
    beam, detector = Beam(energy, semi_angle), AnnularDetector(inner, outer)
    found = transfer(SPECIES, beam, detector, jnp.zeros(1))[:, 0]
    np.testing.assert_allclose(found, cross_section(beam, detector), rtol=3e-3)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.8])
def test_interference_is_the_integral_over_ring_and_lens(fraction):
    """O_s(q) by some 10⁵ nodes over the whole lens, against some 10³ over a quarter of it."""
    beam = Beam(60e3, 0.038)
    disc, inner, outer = (float(x / beam.wavelength) for x in (beam.semi_angle, PAPER.inner, PAPER.outer))
    q = 2 * disc * fraction
    turn, turn_weight = gauss(-np.pi / 2, np.pi / 2, 16)
    x = np.sin(turn) * (disc - q / 2)
    height = np.sqrt(disc**2 - (np.abs(x) + q / 2) ** 2)
    node, node_weight = gauss(-1, 1, 12)
    lens = turn_weight[:, None] * np.cos(turn[:, None]) * height[:, None] * node_weight
    ring, ring_weight = gauss(inner, outer, 24)
    angle = 2 * np.pi * (np.arange(48) + 0.5) / 48
    kx = (ring[:, None] * np.cos(angle))[..., None, None] + x[:, None]
    ky = (ring[:, None] * np.sin(angle))[..., None, None] + height[:, None] * node
    far, near = (form_factors(jnp.asarray(np.hypot(kx + s * q / 2, ky))) for s in (1, -1))
    mean = np.einsum("srapq,pq->sr", far * near, lens) / lens.sum() * (2 * np.pi / len(angle))
    expected = float(beam.mass_ratio * beam.wavelength) ** 2 * mean @ (ring * ring_weight)
    np.testing.assert_allclose(transfer(SPECIES, beam, PAPER, jnp.array([q]))[:, 0], expected, rtol=4e-3)


@given(x=st.floats(0.0, 1.2))
def test_the_aperture_transfers_the_overlap_of_two_discs(x):
    expected = lens_area(np.array([max(2 * x, 1e-9)]), 1.0, 1.0)[0] / np.pi
    np.testing.assert_allclose(aperture_transfer(jnp.asarray(x)), expected, atol=1e-6)


@pytest.mark.parametrize(("source", "bound"), [(0.4, 0.008), (0.5, 0.008), (0.6, 0.01), (0.7, 0.012), (0.8, 0.014)])
def test_the_gaussians_are_the_fourier_integral(source, bound):
    """Over all distances and as a fraction of the peak, for the paper's instrument; `profile_error` says the same."""
    beam = Beam(60e3, 0.038, source)
    n, pixel = 256, 0.15
    q = np.fft.fftfreq(n, pixel)
    magnitude = np.hypot(q[:, None], q)
    cutoff = float(2 * beam.semi_angle / beam.wavelength)
    nodes = np.linspace(0, cutoff, 60)
    smooth = np.asarray(transfer(SPECIES, beam, PAPER, jnp.asarray(nodes)))
    blur = np.exp(-2 * np.pi**2 * source**2 * magnitude**2)
    passed = blur * np.asarray(aperture_transfer(jnp.asarray(magnitude / cutoff)))
    spectra = [np.interp(magnitude, nodes, values) * passed for values in smooth]
    exact = np.fft.ifft2(spectra).real[:, 0, : n // 2] / pixel**2
    amplitudes, variances = (np.asarray(x) for x in profile(SPECIES, beam, PAPER))
    r = pixel * np.arange(n // 2)
    gaussians = np.exp(-(r**2) / (2 * variances[:, None])) / (2 * np.pi * variances[:, None])
    error = np.abs(amplitudes @ gaussians - exact).max(axis=1) / exact[:, 0]
    assert error.max() < bound
    np.testing.assert_allclose(error_of(SPECIES, beam, PAPER), error, atol=5e-4)


@given(source=st.floats(0.0, 1.0), semi_angle=st.floats(0.01, 0.04))
def test_neither_source_nor_expansion_changes_the_cross_section(source, semi_angle):
    beam = Beam(60e3, semi_angle, source)
    amplitudes, _ = profile(SPECIES, beam, PAPER)
    np.testing.assert_allclose(amplitudes.sum(axis=1), transfer(SPECIES, beam, PAPER, jnp.zeros(1))[:, 0], rtol=1e-10)


@given(inner=st.floats(0.045, 0.1), width=st.floats(0.03, 0.15), more=st.floats(0.005, 0.02))
def test_a_larger_ring_catches_more(inner, width, more):
    rings = [AnnularDetector(*ring) for ring in ((inner, inner + width), (inner - more, inner + width))]
    rings.append(AnnularDetector(inner, inner + width + more))
    small, further_in, further_out = (transfer(SPECIES, Beam(60e3, 0.025), r, jnp.zeros(1))[:, 0] for r in rings)
    assert (further_in > small).all()
    assert (further_out > small).all()
    assert (small > 0).all()


def test_heavier_atoms_scatter_more_and_by_less_than_the_square():
    """Between screened and bare nuclei: the exponent of Z lies between 1 and 2 for each pair in turn."""
    numbers, found = np.array([16, 34, 42, 74]), transfer(SPECIES, Beam(60e3, 0.038), PAPER, jnp.zeros(1))[:, 0]
    slopes = np.diff(np.log(np.asarray(found)[[1, 3, 0, 2]])) / np.diff(np.log(numbers))
    assert (slopes > 1).all()
    assert (slopes < 2).all()
