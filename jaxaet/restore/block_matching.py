"""Denoising by block matching: patches that look alike are filtered together.

Around each reference patch the most similar ones are gathered into a stack, transformed (cosine along rows and columns,
Walsh-Hadamard along the stack), shrunk, transformed back, and averaged where they overlap: first with a hard threshold,
then with the Wiener filter of that first estimate. Atomic images repeat themselves, which this uses. Source: Dabov,
Foi, Katkovnik & Egiazarian, IEEE Trans. Image Process. 16 (2007) 2080.
"""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.linalg
from jaxtyping import Array, Float, Int

from jaxaet.core import InputError

PATCH = 8  # pixels across, a power of two
_STACK = 16  # patches filtered together
_STRIDE = 3  # pixels from one reference patch to the next
_REACH = 16  # pixels to search in each direction
_THRESHOLD = 2.7  # standard deviations, below which a coefficient is noise
_KAISER = 2.0  # of the window that blends patches
_OUTSIDE = 1e3  # standard deviations: brighter than any image, so that no patch beyond the border is alike
_TOGETHER = 1024  # reference patches filtered at once: their stacks stay in cache


def block_matched(image: Float[Array, "ny nx"], sigma: Float[Array, ""] | float = 1.0) -> Float[Array, "ny nx"]:
    """The image without its white Gaussian noise of standard deviation `sigma`.

    Images of counts are brought to such noise by `stabilised` first. Raises `InputError` for an image smaller than the
    search.
    """
    least = PATCH + 2 * _REACH
    if min(image.shape) < least:
        raise InputError(
            f"An image of {image.shape[0]} × {image.shape[1]} pixels is too small for block matching; give at least "
            f"{least} × {least}, or denoise by another method."
        )
    return _both_stages(image / sigma) * sigma


@jax.jit
def _both_stages(noisy: Float[Array, "ny nx"]) -> Float[Array, "ny nx"]:
    first = _filtered(noisy, None, _matches(noisy))
    return _filtered(noisy, first, _matches(first))


def _corners(size: int) -> Int[np.ndarray, " r"]:
    """The first pixels of the reference patches along one axis; the last patch ends with the image."""
    return np.unique(np.append(np.arange(0, size - PATCH + 1, _STRIDE), size - PATCH))


def _matches(image: Float[Array, "ny nx"]) -> tuple[Int[Array, "r s"], Int[Array, "r s"]]:
    """The first rows and columns of the patches most like each reference patch, itself the first."""
    ny, nx = image.shape
    rows, columns = _corners(ny), _corners(nx)
    offsets = np.stack(np.meshgrid(*[np.arange(-_REACH, _REACH + 1)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    padded = jnp.pad(image, _REACH, constant_values=_OUTSIDE)

    def distance(offset):
        total = (image - jax.lax.dynamic_slice(padded, offset + _REACH, (ny, nx))) ** 2
        for width in (1, 2, 4):  # sums over 2, 4 and 8 pixels
            total = total[:-width] + total[width:]
            total = total[:, :-width] + total[:, width:]
        return total[rows][:, columns].ravel()

    nearest = jax.lax.top_k(-jax.lax.map(distance, jnp.asarray(offsets)).T, _STACK)[1]
    moved = jnp.asarray(offsets)[nearest]
    row, column = (jnp.asarray(axis).ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    return row[:, None] + moved[..., 0], column[:, None] + moved[..., 1]


def _filtered(noisy, first, matches) -> Float[Array, "ny nx"]:
    """Every stack shrunk, by a threshold or by the Wiener filter of a first estimate, and all put together."""
    cosine = np.asarray(scipy.fft.dct(np.eye(PATCH), axis=0, norm="ortho"))
    flat = jnp.asarray(np.kron(cosine, cosine), noisy.dtype)
    along = jnp.asarray(scipy.linalg.hadamard(_STACK) / np.sqrt(_STACK), noisy.dtype)
    window = jnp.asarray(np.outer(*[np.kaiser(PATCH, _KAISER)] * 2).ravel(), noisy.dtype)
    row, column = (axis.ravel() for axis in np.meshgrid(*[np.arange(PATCH)] * 2, indexing="ij"))

    def forward(image, places):
        return jnp.einsum("st,btp,qp->bsq", along, image.ravel()[places], flat)

    def add(sums, places):
        rows, columns = places
        within = row * noisy.shape[1] + column
        pixels = (rows * noisy.shape[1] + columns)[..., None] + within[None, None]
        found = forward(noisy, pixels)
        if first is None:
            shrink = (jnp.abs(found) > _THRESHOLD).astype(noisy.dtype)
        else:
            power = forward(first, pixels) ** 2
            shrink = power / (power + 1)
        weight = 1 / jnp.maximum(jnp.sum(shrink**2, axis=(1, 2)), 1.0)
        patches = jnp.einsum("st,bsq,qp->btp", along, shrink * found, flat)
        blend = jnp.broadcast_to(weight[:, None, None] * window[None, None], patches.shape)
        return tuple(
            total.at[pixels].add(part) for total, part in zip(sums, (blend * patches, blend), strict=True)
        ), None  # fmt: skip

    count = -(-matches[0].shape[0] // _TOGETHER) * _TOGETHER
    last = jnp.minimum(jnp.arange(count), matches[0].shape[0] - 1)  # the last patch again changes its weight alone
    grouped = tuple(axis[last].reshape(-1, _TOGETHER, _STACK) for axis in matches)
    nothing = jnp.zeros(noisy.size, noisy.dtype)
    (total, weight), _ = jax.lax.scan(add, (nothing, nothing), grouped)
    return (total / weight).reshape(noisy.shape)
