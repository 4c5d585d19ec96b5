"""Images without the vibration of the stage.

The better way is to leave the kernel in the forward model (`Microscope.vibration`) and to deconvolve nothing: images
that were deconvolved no longer have the noise that a likelihood expects. Source: AET paper, supplement, "Vibration
correction"; Richardson, J. Opt. Soc. Am. 62 (1972) 55.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxaet.core import Images
from jaxaet.instrument import StageVibration

_FINER = 2  # times, that an image is interpolated before it is deconvolved
_REACH = 4.0  # rms widths beyond the amplitude where the kernel ends
_NODES = 40  # points of the oscillation and of its width


def kernel(vibration: StageVibration, index: int, sampling: float) -> Float[np.ndarray, "p p"]:
    """The vibration of one image as a picture of `sampling` Å a pixel, an odd number of them, that sums to 1."""
    direction, amplitude, width = (float(x[index]) for x in (vibration.direction, vibration.amplitude, vibration.width))
    side = 2 * int(np.ceil((amplitude + _REACH * width) / sampling)) + 3
    phase = np.pi * (np.arange(_NODES) + 0.5) / _NODES
    node, weight = np.polynomial.hermite_e.hermegauss(_NODES)
    stroke = amplitude * np.cos(phase)[:, None] + width * node[None]
    share = np.broadcast_to(weight / weight.sum() / _NODES, stroke.shape)
    kept = np.abs(stroke) < amplitude + _REACH * width
    found = np.zeros((side, side))
    x, y = (side // 2 + part * stroke[kept] / sampling for part in (np.cos(direction), np.sin(direction)))
    for down in (0, 1):  # each point is shared by the four pixels around it
        for right in (0, 1):
            row, column = np.floor(y).astype(int) + down, np.floor(x).astype(int) + right
            np.add.at(found, (row, column), share[kept] * (1 - np.abs(y - row)) * (1 - np.abs(x - column)))
    return found / found.sum()


def deconvolved(images: Images, vibration: StageVibration, iterations: int = 10) -> Images:
    """The images without vibration, by Richardson-Lucy on pixels half as wide.

    Negative values count as nothing. More `iterations` sharpen more and raise more noise.
    """
    from skimage.restoration import richardson_lucy

    ny, nx = images.grid.shape
    fine = (len(images.data), _FINER * ny, _FINER * nx)
    finer = np.asarray(jax.image.resize(jnp.maximum(images.data, 0.0), fine, "linear"), float)
    found = []
    for index, image in enumerate(finer):
        shape = kernel(vibration, index, float(images.grid.sampling) / _FINER)
        edge = shape.shape[0]
        padded = np.pad(image, edge, mode="edge")  # beyond the border there is not nothing
        sharp = richardson_lucy(padded, shape, iterations, clip=False, filter_epsilon=1e-9 * max(image.max(), 1e-30))
        found.append(sharp[edge:-edge, edge:-edge])
    binned = np.asarray(found).reshape(len(found), ny, _FINER, nx, _FINER).mean(axis=(2, 4))
    return Images(binned, images.angles, images.grid)
