"""Drift of the specimen while its frames are recorded: found, and undone.

The frames of an image are registered to one of them by cross-correlation to a hundredth of a pixel (Guizar-Sicairos,
Thurman & Fienup, Optics Letters 33 (2008) 156). A drift of constant velocity moves the specimen within each frame as
well, from row to row, by which it shears and stretches the frame; so the velocity is fitted, and the frames are read
back along the whole path (AET paper, supplement, "Drift correction").
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Array, Bool, Float

from jaxaet.core import Frames, Images, InputError
from jaxaet.forward import displaced

_FINE = 100  # parts of a pixel
_RARE = 1e-5  # chance of a right frame to lie so far from the line that it is taken for wrong
_NORMAL = 0.6745  # median absolute deviation of a normal variable of unit variance
_LEAST, _MOST = 0.1, 2.0  # pixels from the line, at which no frame and every frame is wrong


class Drift(eqx.Module):
    """How the specimen moved.

    `velocity`: (k, 2), along x and y from a frame to the next, Å. `residual`: (k, f, 2), of each frame from that line,
    Å. `kept`: (k, f), which frames lie on it.
    """

    velocity: Float[Array, "k 2"]
    residual: Float[Array, "k f 2"]
    kept: Bool[Array, "k f"]

    @classmethod
    def none(cls, frames: Frames) -> "Drift":
        """A specimen at rest."""
        shape = frames.data.shape[:2]
        return cls(jnp.zeros((shape[0], 2)), jnp.zeros((*shape, 2)), jnp.ones(shape, bool))

    def path(self, rows: int) -> Float[Array, "k f {rows} 2"]:
        """Where the specimen was during each row of each frame, from where it was during the very first row, Å."""
        frames = self.kept.shape[1]
        time = jnp.arange(frames)[:, None] + jnp.arange(rows)[None] / rows
        return self.velocity[:, None, None] * time.astype(self.velocity.dtype)[None, :, :, None]


def find_drift(frames: Frames) -> Drift:
    """The drift of each image's frames, with those that do not follow it left out.

    A frame may be wrong, the first one too. Raises `InputError` when fewer than three frames of an image agree.
    """
    data, sampling = np.asarray(frames.data), float(frames.grid.sampling)
    count = data.shape[1]
    if count < 3:
        return Drift.none(frames)
    found, of_images = [], [_shifts(image) for image in data]
    away = np.stack([_from_line(shifts) for shifts in of_images])
    for index, (shifts, kept) in enumerate(zip(of_images, _right(away), strict=True)):
        if kept.sum() < 3:
            raise InputError(
                f"Of {count} frames of image {index} (counted from 0) only {kept.sum()} follow one drift; at least 3 "
                "must, so leave the image out or give its sum as one frame."
            )
        found.append(_line(shifts, kept))
    velocity, residual, kept = (jnp.asarray(np.stack(parts)) for parts in zip(*found, strict=True))
    return Drift(velocity * sampling, residual * sampling, kept)


def undrifted(frames: Frames, drift: Drift) -> Images:
    """The sum of the frames that were kept, each read back along the drift.

    Reading back is the transpose of what drift does to an image (`forward.displaced`). Both are orthogonal but for the
    stretch, so counts are kept and the noise of neighbouring pixels stays independent; a specimen that drifted along
    with the slow scan is brighter, as it had more dose. What left at one border comes in at the other.
    """
    count = frames.data.shape[1]
    shape, dtype = (frames.data.shape[0], *frames.grid.shape), frames.data.dtype
    path = drift.path(frames.grid.shape[0])

    def scan(data):
        return displaced(Images(data, frames.angles, frames.grid), path)

    back = jax.linear_transpose(scan, jax.ShapeDtypeStruct(shape, dtype))
    (data,) = back(count * jnp.where(drift.kept[:, :, None, None], frames.data, 0.0))
    return Images(data, frames.angles, frames.grid)


def _shifts(image: Float[np.ndarray, "f ny nx"]) -> Float[np.ndarray, "f 2"]:
    """How far (x, y) in pixels the specimen of each frame lies from that of the frame in the midst of the others.

    They are measured from the frame most like all the others, and known up to whole fields.
    """
    from skimage.registration import phase_cross_correlation

    spectra = np.fft.fft2(image - image.mean(axis=(1, 2), keepdims=True))
    spectra /= np.linalg.norm(spectra, axis=(1, 2), keepdims=True)
    likeness = [sum(np.fft.ifft2(spectrum * other.conj()).real.max() for other in spectra) for spectrum in spectra]
    reference = spectra[int(np.argmax(likeness))]
    # Without normalisation: the phases alone lock to any of the lattice's translations.
    options: dict = {"upsample_factor": _FINE, "space": "fourier", "normalization": None}
    shifts = np.array([phase_cross_correlation(spectrum, reference, **options)[0] for spectrum in spectra])
    between = shifts[None] - shifts[:, None]
    between -= np.round(between / image.shape[1:]) * image.shape[1:]
    midst = np.argmin(np.median(np.linalg.norm(between, axis=2), axis=1))
    return between[midst, :, ::-1]


def _from_line(shifts: Float[np.ndarray, "f 2"]) -> Float[np.ndarray, " f"]:
    """How far in pixels each frame lies from the line that half of them agree on, by repeated medians."""
    time = np.arange(len(shifts))
    slope, start = np.transpose([tuple(scipy.stats.siegelslopes(values, time)) for values in shifts.T])
    return np.linalg.norm(shifts - (start + slope * time[:, None]), axis=1)


def _right(away: Float[np.ndarray, "k f"]) -> Bool[np.ndarray, "k f"]:
    """Which frames are not too far from their line. No image counts as less spread than the median image."""
    middle = np.median(away, axis=1, keepdims=True)
    spread = np.median(np.abs(away - middle), axis=1, keepdims=True) / _NORMAL
    spread = np.maximum(spread, np.median(spread))
    far = scipy.stats.t.isf(_RARE, away.shape[1] - 2)  # few frames do not say well how much they spread
    return away <= np.clip(middle + far * spread, _LEAST, _MOST)


def _line(shifts: Float[np.ndarray, "f 2"], kept: Bool[np.ndarray, " f"]) -> tuple:
    """Velocity in pixels a frame, residuals of all frames, and the frames that were kept."""
    time = np.arange(len(shifts))
    start, slope = np.polynomial.polynomial.polyfit(time[kept], shifts[kept], 1)
    return slope, shifts - (start + slope * time[:, None]), kept
