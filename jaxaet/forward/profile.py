"""What one atom looks like: the probe-convolved annular dark-field profile of each species.

A convergent beam scattered once by an atom gives, for one electron at each scan position, the image whose
Fourier transform is

    I_s(q) = exp(-2 pi² w² q²) A(q) O_s(q),
    A(q) O_s(q) = gamma² lambda² / |disc| ∫_ring d²K ∫_lens d²p f_s(|K + p + q/2|) f_s(|K + p - q/2|),

with f the electron scattering factor, w the rms source size, the ring the detector, and the lens the overlap,
of relative area A(q), of two aperture discs displaced by q. O_s(0) is the ADF cross-section. Source: Nellist &
Pennycook, Adv. Imaging Electron Phys. 113 (2000) 147, section IV; Kirkland, Advanced Computing in Electron
Microscopy (2010), section 5.4.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxaet.forward.scattering import electron_form_factor
from jaxaet.instrument import AnnularDetector, Beam

# Variances of the Gaussian expansion of the aberration-free probe, in units of (lambda / alpha)².
PROBE_VARIANCES = (0.045, 0.8)
_BAND, _RADIUS, _LENS = (np.polynomial.legendre.leggauss(n) for n in (10, 6, 3))
_AZIMUTHS = 12


def aperture_transfer(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Incoherent transfer of a round aperture at `x` = q lambda / (2 alpha): 1 at x = 0, 0 from x = 1 on."""
    inside = jnp.clip(x, 0.0, 1.0 - 1e-7)
    return (2 / jnp.pi) * (jnp.arccos(inside) - inside * jnp.sqrt(1 - inside**2))


def _lens(q: Float[Array, " q"], radius: Float[Array, ""]) -> tuple[Float[Array, "p q 2"], Float[Array, "p q"]]:
    """Nodes (p, q, 2) and weights (p, q), of sum 1, over a quarter of the overlap of two discs `q` apart."""
    node, weight = (jnp.asarray(x) for x in _LENS)
    half, shift = 0.5 * (node + 1), 0.5 * q[None]
    x = half[:, None] * (radius - shift)
    height = jnp.sqrt(jnp.maximum(radius**2 - (x + shift) ** 2, 1e-12))
    y = half[:, None, None] * height[None]
    nodes = jnp.stack([jnp.broadcast_to(x, y.shape), y], axis=-1).reshape(-1, q.size, 2)
    weights = (weight[:, None, None] * (weight[:, None] * height)[None]).reshape(-1, q.size)
    return nodes, weights / weights.sum(axis=0, keepdims=True)


def object_transfer(
    species: tuple[str, ...], beam: Beam, detector: AnnularDetector, q: Float[Array, " q"]
) -> Float[Array, "s q"]:
    """The object function O_s(q), (s, q) in Å², at spatial frequencies `q` in 1/Å; O_s(0) is the cross-section.

    Gauss-Legendre quadrature over the lens and, logarithmic in radius, over the ring. Interference with the
    unscattered beam is left out: the ring must lie outside the convergent beam.
    """
    p, lens_weight = _lens(q, beam.semi_angle / beam.wavelength)
    node, weight = (jnp.asarray(x) for x in _RADIUS)
    low, high = jnp.log(detector.inner / beam.wavelength), jnp.log(detector.outer / beam.wavelength)
    k = jnp.exp(low + 0.5 * (node + 1) * (high - low))
    angle = 2 * jnp.pi * (jnp.arange(_AZIMUTHS) + 0.5) / _AZIMUTHS
    area = (0.5 * (high - low) * weight * k**2)[:, None] * jnp.full((1, _AZIMUTHS), 2 * jnp.pi / _AZIMUTHS)
    x = (k[:, None] * jnp.cos(angle)[None])[..., None, None] + p[None, None, ..., 0]
    y = (k[:, None] * jnp.sin(angle)[None])[..., None, None] + p[None, None, ..., 1]
    shift = 0.5 * jnp.broadcast_to(q, x.shape)
    far, near = (electron_form_factor(species, jnp.hypot(moved, y)) for moved in (x + shift, x - shift))
    integral = jnp.einsum("srapq,ra,pq->sq", far * near, area, lens_weight)
    return (beam.mass_ratio * beam.wavelength) ** 2 * integral


def probe_profile(
    species: tuple[str, ...], beam: Beam, detector: AnnularDetector
) -> tuple[Float[Array, "s g"], Float[Array, " g"]]:
    """The profile of each species as a sum of two-dimensional Gaussians.

    Returns cross-sections (s, g) in Å² and variances (g,) in Å²: an atom scatters the fraction
    Σ_g a_sg exp(-r²/2v_g) / (2 pi v_g) of the electrons at distance r, before thermal motion. The weights are
    the linear least-squares fit to I_s(q) over the band of the aperture, so they have a gradient in every
    instrument parameter; the total cross-section is exact. `profile_error` measures the fit.
    """
    cutoff = 2 * beam.semi_angle / beam.wavelength
    node, weight = (jnp.asarray(x) for x in _BAND)
    x = 0.5 * (node + 1)
    q = jnp.concatenate([jnp.zeros(1, x.dtype), x * cutoff])
    transfer = object_transfer(species, beam, detector, q)
    total, shape = transfer[:, :1], transfer[:, 1:] / transfer[:, :1] * aperture_transfer(x)[None]
    scale = (beam.wavelength / beam.semi_angle) ** 2
    basis = jnp.exp(-2 * jnp.pi**2 * jnp.asarray(PROBE_VARIANCES)[:, None] * scale * q[None, 1:] ** 2)
    importance = (weight * x * jnp.exp(-4 * jnp.pi**2 * beam.source_size**2 * q[1:] ** 2))[None]
    # The last weight is what the others leave of 1, so the cross-section is kept exactly.
    difference = basis[:-1] - basis[-1:]
    normal = (difference * importance) @ difference.T
    fitted = jnp.linalg.solve(normal, (difference * importance) @ (shape - basis[-1:]).T).T
    weights = jnp.concatenate([fitted, 1 - fitted.sum(axis=1, keepdims=True)], axis=1)
    return total * weights, jnp.asarray(PROBE_VARIANCES) * scale + beam.source_size**2


def profile_error(species: tuple[str, ...], beam: Beam, detector: AnnularDetector) -> Float[Array, " s"]:
    """Largest error of the Gaussian expansion over all distances, as a fraction of each species' peak, (s,)."""
    cutoff = 2 * beam.semi_angle / beam.wavelength
    q = jnp.linspace(0.0, 1.0, 401) * cutoff
    r = jnp.linspace(0.0, 5.0, 201)
    blur = jnp.exp(-2 * jnp.pi**2 * beam.source_size**2 * q**2)
    transfer = object_transfer(species, beam, detector, q) * (aperture_transfer(q / cutoff) * blur)[None]
    exact = _radial_transform(transfer, q, r)
    amplitudes, variances = probe_profile(species, beam, detector)
    gaussians = jnp.exp(-0.5 * r[None] ** 2 / variances[:, None]) / (2 * jnp.pi * variances[:, None])
    return jnp.max(jnp.abs(amplitudes @ gaussians - exact), axis=1) / exact[:, 0]


def _radial_transform(values: Float[Array, "s q"], q: Float[Array, " q"], r: Float[Array, " r"]) -> Float[Array, "s r"]:
    """The two-dimensional Fourier transform of a radial function at evenly spaced `q`, as a Hankel transform."""
    angle = (jnp.arange(64) + 0.5) * jnp.pi / 64
    phase = 2 * jnp.pi * q[:, None, None] * r[None, :, None] * jnp.cos(angle)[None, None]
    integrand = (values * q[None])[:, None] * jnp.mean(jnp.cos(phase), axis=-1).T[None]
    return 2 * jnp.pi * jnp.trapezoid(integrand, dx=q[1] - q[0])
