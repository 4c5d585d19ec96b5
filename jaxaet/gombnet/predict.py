"""An image of any size and sampling to the probability of each class in each layer, with its spread."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float
from scipy.ndimage import affine_transform, gaussian_filter

from jaxaet.core import InputError
from jaxaet.gombnet.losses import best_orders
from jaxaet.gombnet.simulate import standardised


class Prediction(NamedTuple):
    """Probabilities (l, ny, nx, c) in pixels of the resampled image.

    `mean` and `spread` (standard deviation) are over networks and turned and mirrored copies. `pixel`: pixel size, Å.
    """

    mean: Float[np.ndarray, "l ny nx c"]
    spread: Float[np.ndarray, "l ny nx c"]
    pixel: float


def predict(
    network: nnx.Module | Sequence[nnx.Module],
    image: np.ndarray,
    pixel: float,
    trained_pixel: float,
    tile: int = 256,
    copies: int = 8,
) -> Prediction:
    """Probabilities over a whole image, by tiles that overlap by half.

    `network`: one, or several with the same layers and classes whose answers are averaged. `pixel`: pixel size of the
    image, Å; it is resampled to `trained_pixel`, Å. `copies`: of the eight turns and mirror images, how many are
    averaged. The layers of each network, copy and tile are ordered like those before.
    Raises `InputError` for an image that is no image, is constant, has values that are not finite, or is too small.
    """
    image = _checked(image, pixel)
    scale = pixel / trained_pixel
    scale = 1.0 if abs(scale - 1) < 0.02 else scale
    image = resampled(image, scale)
    shape = image.shape
    if min(shape) < 64:
        raise InputError(
            f"The image has {shape[0]} × {shape[1]} pixels of {trained_pixel:g} Å after resampling; "
            "it needs at least 64 × 64."
        )
    padded = np.pad(
        image, [(0, max(0, tile - side)) for side in shape], mode="reflect" if min(shape) > tile // 2 else "edge"
    )
    runs = [_runner(member) for member in ([network] if isinstance(network, nnx.Module) else network)]
    parts = [
        (slice(row, row + tile), slice(column, column + tile))
        for row in _starts(padded.shape[0], tile)
        for column in _starts(padded.shape[1], tile)
    ]
    mean, spread = _stitched([_of_tile(runs, padded[part], copies) for part in parts], parts, padded.shape)
    cut = (slice(None), slice(0, shape[0]), slice(0, shape[1]))
    return Prediction(mean[cut], spread[cut], pixel / scale)


def resampled(image: Float[np.ndarray, "ny nx"], scale: float) -> Float[np.ndarray, "my mx"]:
    """The image with `scale` times as many pixels along each axis, about the same middle pixel.

    Pixels that become larger take the mean of the smaller ones by a Gaussian, so that counts are not thrown away.
    """
    if scale == 1:
        return image
    old = np.array(image.shape)
    new = np.maximum(np.rint(scale * old).astype(int), 1)
    smooth = gaussian_filter(image, max(0.0, (1 / scale - 1) / 2), mode="nearest")
    return np.asarray(
        affine_transform(
            smooth,
            [1 / scale, 1 / scale],
            old // 2 - new // 2 / scale,  # pyright: ignore[reportArgumentType]
            tuple(new),
            order=3 if scale > 1 else 1,
            mode="nearest",
        )
    )


def _stitched(outcomes, parts, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations of the tiles, weighted by a window, in layers ordered like those of the tiles before."""
    first = outcomes[0][0]
    total = np.zeros((2, len(first), *shape, first.shape[-1]))
    weight = np.full(shape, 1e-30)
    window = np.outer(*[np.hanning(first.shape[1] + 2)[1:-1]] * 2)
    for part, outcome in zip(parts, outcomes, strict=True):
        where = (slice(None), slice(None), *part)
        order = list(_order(outcome[0], total[where][0] / weight[part][None, ..., None]))
        total[where] += window[None, None, ..., None] * np.stack(outcome)[:, order]
        weight[part] += window
    mean, spread = total / weight[None, None, ..., None]
    return mean, spread


def _checked(image: np.ndarray, pixel: float) -> np.ndarray:
    """The image with mean 0 and standard deviation 1."""
    if image.ndim != 2:
        raise InputError(
            f"An array of shape {image.shape} is no grey image; give one of two dimensions (rows, columns)."
        )
    if not 0.005 < pixel < 1:
        raise InputError(f"A pixel size of {pixel:g} Å was given; atoms are seen with 0.005 to 1 Å.")
    if not np.isfinite(image).all():
        raise InputError(
            f"{np.count_nonzero(~np.isfinite(image))} pixels of the image are not finite; mend or cut them first."
        )
    if image.min() == image.max():
        raise InputError(f"All pixels of the image are {image.flat[0]:g}; it shows no atoms.")
    image = image.astype(float)
    return (image - image.mean()) / image.std()  # in double precision, for any unit


def _starts(side: int, tile: int) -> list[int]:
    return sorted({min(start, side - tile) for start in range(0, side, tile // 2)})


def _runner(network: nnx.Module):
    structure, state = nnx.split(network)

    @jax.jit
    def run(state, images: Float[Array, "b ny nx"]) -> Float[Array, "b l ny nx c"]:
        return jax.nn.sigmoid(nnx.merge(structure, state)(images))

    return partial(run, state)


def _of_tile(runs, tile: Float[np.ndarray, "n n"], copies: int):
    turned = [np.rot90(tile if k < 4 else tile.T, k % 4) for k in range(copies)]
    images = standardised(jnp.asarray(np.stack(turned), jnp.float32))
    undone = []
    for k, output in (pair for run in runs for pair in enumerate(np.asarray(run(images)))):
        back = np.rot90(output, -(k % 4), axes=(1, 2))
        undone.append(back if k < 4 else back.swapaxes(1, 2))
    undone = np.stack([output[list(_order(output, undone[0]))] for output in undone])
    return undone.mean(axis=0), undone.std(axis=0)


def _order(outputs: Float[np.ndarray, "l ny nx c"], reference: Float[np.ndarray, "l ny nx c"]) -> tuple[int, ...]:
    """Which output stands for each layer of the reference."""
    return best_orders(np.einsum("lyxc,myxc->lm", outputs, reference)[None])[0]
