"""Where an atom is missing: the residual images, asked at every voxel."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.spatial import KDTree

from jaxaet.core import Images, Volume, rotation_matrix
from jaxaet.tomography.real_space import back_project
from jaxaet.tomography.reconstruct import origin, voxels
from jaxaet.tomography.trace import trace


def missing_atoms(
    residual: Images,
    information: Float[Array, "k ny nx"],
    width: float,
    extent: tuple[float, float, float],
    sampling: float,
    shifts: Float[Array, "k 2"],
    positions: Float[np.ndarray, "n 3"],
    min_distance: float,
    significance: float = 6.0,
) -> tuple[Float[np.ndarray, "m 3"], Float[np.ndarray, " m"]]:
    """Positions in Å and strengths of atoms that would explain what the model leaves.

    A matched filter: at every voxel the best strength of one more Gaussian of rms `width` Å, and that strength in
    standard errors, of which maxima above `significance` are kept. `residual`: data minus model. `information`: inverse
    variance of each pixel. `positions`: the atoms there are; new ones keep `min_distance` Å from them. Strengths are
    counts, summed over the pixels of one image.
    """
    shape = voxels(extent, sampling)
    weighted = Images(residual.data * information, residual.angles, residual.grid)
    gain = Images(information, residual.angles, residual.grid)
    pixel = float(residual.grid.sampling)
    numerator = back_project(weighted, width, shape, sampling, shifts)
    density = pixel**2 / (4 * np.pi * width**2)
    denominator = density * back_project(gain, width / np.sqrt(2), shape, sampling, shifts)
    score = numerator / jnp.sqrt(jnp.maximum(denominator, 1e-30))
    volume = Volume(jnp.maximum(score, 0.0), origin(shape, sampling), sampling)
    found, heights = trace(volume, min_distance, 0.5 * sampling, threshold=0.0)
    found = found[heights > significance]
    if len(positions) and len(found):
        found = found[KDTree(positions).query(found)[0] > min_distance]

    def at(values, points):
        index = np.clip(np.rint((points - np.asarray(volume.origin)) / sampling).astype(int), 0, np.array(shape) - 1)
        return np.asarray(values)[tuple(index.T)]

    return found, at(numerator, found) / np.maximum(at(denominator, found), 1e-30)


def elongation(
    residual: Images,
    information: Float[Array, "k ny nx"],
    width: float,
    shifts: Float[Array, "k 2"],
    positions: Float[Array, "n 3"],
    arm: Float[Array, "3"],
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """How much each atom looks like two of them, at plus and minus `arm` (Å): in standard errors, and in counts.

    The score test for replacing an atom g by two halves: the residual against f = g(+arm) + g(-arm) - 2 g, less
    what the atom's own weight, which was fitted, would already explain. Overlaps of Gaussians of rms `width` Å are in
    closed form. The counts are those that either half takes of the atom, of a pixel of 1 Å²: half the atom's if it is
    two.
    """
    grid = residual.grid
    ny, nx = grid.shape
    fy, fx = grid.frequencies()
    blur = jnp.exp(-2 * (jnp.pi * width) ** 2 * (fy[:, None] ** 2 + fx[None, : nx // 2 + 1] ** 2))
    density = grid.sampling**2 / (4 * jnp.pi * width**2)

    def sample(image, points):
        column, row = jnp.moveaxis(grid.pixels(points), -1, 0)
        return jax.scipy.ndimage.map_coordinates(image, [row, column], order=1, mode="constant")

    def view(sums, inputs):
        data, weight, rotation, shift = inputs
        smooth = [jnp.fft.irfft2(jnp.fft.rfft2(image) * blur, s=(ny, nx)) for image in (data * weight, weight)]
        centre = positions @ rotation[:, :2] + shift[None]
        reach = arm @ rotation[:, :2]
        overlap, twice = (jnp.exp(-jnp.sum((m * reach) ** 2) / (4 * width**2)) for m in (1, 2))
        norm = density * sample(smooth[1], centre)
        score = sample(smooth[0], centre + reach[None]) + sample(smooth[0], centre - reach[None])
        score = score - 2 * sample(smooth[0], centre)
        parts = (score, (6 + 2 * twice - 8 * overlap) * norm, 2 * (overlap - 1) * norm, norm)
        return tuple(total + part for total, part in zip(sums, parts, strict=True)), None

    zero = (jnp.zeros(positions.shape[0], residual.data.dtype),) * 4
    views = (residual.data, information, rotation_matrix(residual.angles), shifts)
    (score, own, cross, norm), _ = jax.lax.scan(view, zero, views)
    variance = jnp.maximum(own - cross**2 / jnp.maximum(norm, 1e-30), 1e-30)
    return score / jnp.sqrt(variance), score / variance
