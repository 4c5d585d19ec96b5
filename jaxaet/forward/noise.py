"""Counting noise."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxaet.core import Images


def count(images: Images, key: PRNGKeyArray, readout: Float[Array, ""] | float = 0.0) -> Images:
    """One noisy draw of mean `images`: Poisson counts plus Gaussian read-out of rms `readout` counts.

    Negative means count as zero.
    """
    shot, read = jax.random.split(key)
    counts = jax.random.poisson(shot, jnp.maximum(images.data, 0.0)).astype(images.data.dtype)
    noise = readout * jax.random.normal(read, counts.shape, counts.dtype)
    return Images(counts + noise, images.angles, images.grid)
