"""The lattice that an image shows, from its power spectrum: a check on the pixel size that came with it."""

import numpy as np
from jaxtyping import Float
from scipy import ndimage

CERTAIN = 7.5  # of the logarithms summed below; white noise reaches 5.5


def apparent_lattice(image: Float[np.ndarray, "ny nx"], pixel: float) -> float | None:
    """The constant of the hexagonal lattice that an image shows, Å, or None where it shows none clearly.

    Of all radii in the power spectrum it takes the one at which, and at √3 of which, the brightest spot stands out most
    from the median of its ring. Where the first of the two is faint it may find a constant too small by √3, so it
    is for a pixel size that is far off and not for measuring. `pixel`: Å.
    """
    ny, nx = image.shape
    window = np.hanning(ny)[:, None] * np.hanning(nx)[None]
    power = np.abs(np.fft.fft2((image - image.mean()) * window, (2 * ny, 2 * nx))) ** 2
    steps = 2 * min(image.shape)  # rings of one over so many pixels
    frequency = np.hypot(np.fft.fftfreq(2 * ny)[:, None], np.fft.fftfreq(2 * nx)[None])
    rings, radii = np.rint(steps * frequency), np.arange(steps // 2)
    spots, ground = (np.asarray(f(power, rings, radii)) for f in (ndimage.maximum, ndimage.median))
    height = np.log(np.maximum(spots, 1e-300) / np.maximum(ground, 1e-300))
    first = np.arange(10, int((len(radii) - 1) / np.sqrt(3)))
    both = height[first] + height[np.rint(np.sqrt(3) * first).astype(int)]
    if both.max(initial=0.0) < CERTAIN:
        return None
    return float(steps / first[both.argmax()] * pixel * 2 / np.sqrt(3))
