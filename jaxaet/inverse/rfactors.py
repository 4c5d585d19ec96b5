"""How well a model explains a tilt series, in the two numbers the field quotes."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def r1_factor(data: Float[Array, "k ny nx"], model: Float[Array, "k ny nx"]) -> Float[Array, ""]:
    """The R1 factor: Σ |data - s model| / Σ |data| of each image, averaged over the images.

    s is the least-squares scale of all images together. Source: Yang et al., Nature 542 (2017) 75, equation 5.
    """
    scale = jnp.sum(data * model) / jnp.sum(model**2)
    difference = jnp.sum(jnp.abs(data - scale * model), axis=(1, 2))
    return jnp.mean(difference / jnp.sum(jnp.abs(data), axis=(1, 2)))


def r_factor(data: Float[Array, "k ny nx"], model: Float[Array, "k ny nx"]) -> Float[Array, ""]:
    """The R factor: Σ ||F_data| - |F_model|| / Σ |F_data| over Fourier magnitudes.

    Source: AET paper, table S1, note b.
    """
    observed, computed = (jnp.abs(jnp.fft.fft2(images)) for images in (data, model))
    return jnp.sum(jnp.abs(observed - computed)) / jnp.sum(observed)
