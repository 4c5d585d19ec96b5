"""What blurs an image as a whole: the source and the vibration of the stage."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxaet.core import Grid
from jaxaet.instrument import Beam, StageVibration


def blurred(
    signal: Float[Array, "k my mx"],
    origin: tuple[Float[Array, ""], Float[Array, ""]],
    step: Float[Array, ""],
    beam: Beam | None,
    vibration: StageVibration | None,
    grid: Grid,
) -> Float[Array, "k ny nx"]:
    """Signals at scan points, blurred and read off at the pixels of `grid`, as the Fourier series they are.

    `signal`: at the points `origin` + i `step` (y of the rows, x of the columns), Å. `beam`: whose source blurs, or
    none. The series is periodic, so a margin of scan points around the grid should hold the reach of the blur.
    """
    (my, mx), (y, x) = signal.shape[1:], grid.coordinates()
    qy, qx = (jnp.fft.fftfreq(m, dtype=signal.dtype) / step for m in (my, mx))
    spectrum = jnp.fft.fft2(signal)
    if beam is not None:
        spread = -2 * jnp.pi**2 * beam.source_size**2
        spectrum = spectrum * (jnp.exp(spread * qy**2)[:, None] * jnp.exp(spread * qx**2)[None])[None]
    if vibration is not None:
        all_qy, all_qx = (jnp.broadcast_to(q, signal.shape) for q in (qy[None, :, None], qx[None, None]))
        spectrum = spectrum * vibration.transfer(all_qx, all_qy)
    rows, columns = (
        jnp.exp(2j * jnp.pi * q[None] * (places - start)[:, None]) / m
        for q, places, start, m in ((qy, y, origin[0], my), (qx, x, origin[1], mx))
    )
    return (rows[None] @ spectrum @ columns.T[None]).real
