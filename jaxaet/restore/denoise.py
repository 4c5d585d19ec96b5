"""Images of counts without their noise."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxaet.core import InputError
from jaxaet.restore.block_matching import block_matched
from jaxaet.restore.stabilise import destabilised, stabilised

_SHIFTS = 3  # of the image along each axis, over which wavelets are averaged


def _nl_means(image: Float[Array, "ny nx"]) -> np.ndarray:
    from skimage.restoration import denoise_nl_means

    return denoise_nl_means(np.asarray(image, float), patch_size=7, patch_distance=11, h=0.8, sigma=1.0)


def _wavelet(image: Float[Array, "ny nx"]) -> np.ndarray:
    from skimage.restoration import cycle_spin, denoise_wavelet

    return cycle_spin(np.asarray(image, float), denoise_wavelet, _SHIFTS, {"sigma": 1.0}, num_workers=1)


_FILTERS = {"block_matching": block_matched, "nl_means": _nl_means, "wavelet": _wavelet}


def denoised(
    counts: Float[Array, "ny nx"] | Float[np.ndarray, "ny nx"], readout: float = 0.0, method: str = "block_matching"
) -> np.ndarray:
    """An image of electron counts without its Poisson and read-out noise.

    The noise is made equal everywhere (`stabilised`), filtered, and the transform undone without bias. `readout`: rms
    read-out noise of a pixel, electrons. `method`: block_matching, nl_means or wavelet (both of scikit-image). Raises
    `InputError` for another method.
    """
    if method not in _FILTERS:
        raise InputError(f"There is no filter {method!r}; choose one of {', '.join(_FILTERS)}.")
    smooth = _FILTERS[method](stabilised(jnp.asarray(counts), readout))
    return np.asarray(destabilised(jnp.asarray(smooth, dtype=float), readout))
