"""How far two volumes agree, shell by shell of spatial frequency."""

import numpy as np
from jaxtyping import Float

from jaxaet.core import InputError, Volume


def fourier_shell_correlation(first: Volume, second: Volume) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Spatial frequency in 1/Å and correlation of two volumes, in shells up to the Nyquist frequency.

    Source: van Heel & Schatz, J. Struct. Biol. 151 (2005) 250, equation 2. Raises `InputError` for volumes that are not
    on the same voxels.
    """
    if first.data.shape != second.data.shape or not np.isclose(first.sampling, second.sampling):
        raise InputError(
            f"Volumes of {first.data.shape} voxels of {float(first.sampling):g} Å and {second.data.shape} of "
            f"{float(second.sampling):g} Å have no shells in common; give them on the same voxels."
        )
    one, other = (np.fft.fftn(np.asarray(volume.data, float)) for volume in (first, second))
    sampling, shape = float(first.sampling), first.data.shape
    q = np.sqrt(sum(f**2 for f in np.meshgrid(*[np.fft.fftfreq(n, sampling) for n in shape], indexing="ij")))
    width = 1 / (min(shape) * sampling)
    shell = np.rint(q / width).astype(int).ravel()
    count = int(0.5 / sampling / width) + 1

    def total(values):
        return np.bincount(shell, values.ravel())[:count]

    power = np.sqrt(total(np.abs(one) ** 2) * total(np.abs(other) ** 2))
    return np.arange(count) * width, total((one * other.conj()).real) / np.maximum(power, np.finfo(float).tiny)
