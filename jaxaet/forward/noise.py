"""From the mean images to what is recorded: contamination, drift and scan distortion of each frame, counting noise."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from jaxaet.core import Frames, Grid, Images

ELEMENTARY_CHARGE = 1.602176634e-19  # C, exact in the 2019 SI
_LOG_RMS = 0.5  # of the logarithm of the contamination


def count(images: Images, key: PRNGKeyArray, readout: Float[Array, ""] | float = 0.0) -> Images:
    """One noisy draw of mean `images`: Poisson counts plus Gaussian read-out of rms `readout` counts.

    Negative means count as zero.
    """
    return Images(counted(images.data, key, readout), images.angles, images.grid)


def counted(mean: Float[Array, "*n"], key: PRNGKeyArray, readout: Float[Array, ""] | float = 0.0) -> Float[Array, "*n"]:
    """One noisy draw of `mean` counts, as `count` draws it."""
    shot, read = jax.random.split(key)
    counts = jax.random.poisson(shot, jnp.maximum(mean, 0.0)).astype(mean.dtype)
    return counts + readout * jax.random.normal(read, counts.shape, counts.dtype)


def dose(current: ArrayLike, dwell: ArrayLike, pixel_size: ArrayLike) -> Float[Array, ""]:
    """Electrons per Å² of one scan.

    `current`: of the beam, A. `dwell`: time at each pixel, s. `pixel_size`: Å.
    """
    # One after the other, for the charge of one electron squared is no single-precision number.
    electrons = jnp.asarray(current, dtype=float) * (jnp.asarray(dwell, dtype=float) / ELEMENTARY_CHARGE)
    return electrons / jnp.asarray(pixel_size, dtype=float) ** 2


def contamination(
    grid: Grid, images: int, mean: ArrayLike, correlation: ArrayLike, key: PRNGKeyArray
) -> Float[Array, "{images} ny nx"]:
    """A smooth positive background, drawn for each image anew, in counts per pixel.

    `mean`: counts per pixel, over many draws. `correlation`: Å. Each is a log-normal random field: its logarithm has
    rms 1/2 and the correlation exp(-r² / (2 `correlation`²)) at the distance r. The far sides of an image are
    not correlated, for it is cut from a periodic field twice as wide.
    """
    ny, nx = grid.shape
    qy, qx = Grid((2 * ny, 2 * nx), grid.sampling).frequencies()
    width = jnp.pi * jnp.asarray(correlation, dtype=float)
    transfer = jnp.exp(-((width * qy) ** 2))[:, None] * jnp.exp(-((width * qx) ** 2))[None]
    transfer = transfer / jnp.sqrt(jnp.mean(transfer**2))

    def field(key):
        noise = jax.random.normal(key, (2 * ny, 2 * nx), transfer.dtype)
        return jnp.fft.ifft2(jnp.fft.fft2(noise) * transfer).real[:ny, :nx]

    fields = jax.lax.map(field, jax.random.split(key, images))
    return jnp.asarray(mean, dtype=float) * jnp.exp(_LOG_RMS * fields - 0.5 * _LOG_RMS**2)


def drift_path(
    key: PRNGKeyArray, images: int, frames: int, rows: int, per_frame: ArrayLike, jitter: ArrayLike = 0.0
) -> Float[Array, "{images} {frames} {rows} 2"]:
    """How far (x, y) in Å the specimen has moved while each row of each frame is scanned.

    In each image it drifts at a constant velocity in a random direction, by `per_frame` Å from a frame to the
    next. It starts at zero in the first row, goes on within each frame, which it shears and stretches, and loses no
    time between frames. `jitter`: rms displacement of each row along each axis, independent of all others, Å.
    """
    turn, shake = jax.random.split(key)
    azimuth = jax.random.uniform(turn, (images,), maxval=2 * jnp.pi)
    velocity = jnp.asarray(per_frame, dtype=float) * jnp.stack([jnp.cos(azimuth), jnp.sin(azimuth)], axis=1)
    time = jnp.arange(frames * rows).reshape(frames, rows) / rows
    noise = jax.random.normal(shake, (images, frames, rows, 2))
    return velocity[:, None, None] * time[None, :, :, None] + jnp.asarray(jitter, dtype=float) * noise


def displaced(images: Images, path: Float[Array, "k f ny 2"]) -> Float[Array, "k f ny nx"]:
    """The mean counts of each frame: its share of the mean image, of a specimen displaced along `path`.

    `path`: (k, f, ny, 2) displacement (x, y) in Å of the specimen while each row is scanned: an atom that has moved
    by d is seen displaced by +d. Between pixels the images are the Fourier series they are, so they should fade
    out towards their borders, beyond which they repeat.
    """
    return jax.lax.map(lambda inputs: _moved(inputs[0], inputs[1], images.grid), (images.data, path))


def raw_frames(
    images: Images,
    path: Float[Array, "k f ny 2"],
    key: PRNGKeyArray,
    readout: Float[Array, ""] | float = 0.0,
) -> Frames:
    """The frames that a scan records of mean `images` while the specimen drifts: `displaced`, then counted.

    `path`: as for `displaced`. `readout`: rms of the Gaussian read-out in each pixel of each frame, counts.
    """

    def image(inputs):
        data, path, key = inputs
        return counted(_moved(data, path, images.grid), key, readout)

    data = jax.lax.map(image, (images.data, path, jax.random.split(key, len(images.data))))
    return Frames(data, images.angles, images.grid)


def _moved(data: Float[Array, "ny nx"], path: Float[Array, "f ny 2"], grid: Grid) -> Float[Array, "f ny nx"]:
    """The frames of one image: each row read off between the rows, then shifted along itself."""
    ny, nx = data.shape
    spectrum = jnp.fft.rfft(data / len(path), axis=0)
    order, column = jnp.arange(ny // 2 + 1), jnp.arange(nx // 2 + 1)
    # Each stands for its negative too, except for the mean and, where there is one, the Nyquist frequency.
    weight = jnp.where((order == 0) | (2 * order == ny), 1.0, 2.0).astype(data.dtype) / ny
    still = (jnp.arange(ny)[:, None] * order[None]) % ny

    def frame(path):
        x, y = path.T / grid.sampling
        phase = 2 * jnp.pi * (still - y[:, None] * order[None]) / ny
        rows = (weight[None] * jnp.cos(phase)) @ spectrum.real - (weight[None] * jnp.sin(phase)) @ spectrum.imag
        shift = jnp.exp(-2j * jnp.pi * x[:, None] * column[None] / nx)
        return jnp.fft.irfft(jnp.fft.rfft(rows, axis=1) * shift, n=nx, axis=1)

    return jax.lax.map(frame, path)
