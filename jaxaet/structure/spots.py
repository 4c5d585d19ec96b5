"""Spots of hexagonal lattices in an image's Fourier transform, to a hundredth of a pixel."""

from itertools import combinations, product

import numpy as np
from jaxtyping import Complex, Float
from scipy.ndimage import maximum_filter

from jaxaet.core import InputError

WITHIN = 0.12  # of the first ring's radius, how far its spots are looked for
CLOSURE = 0.4  # pixels of the transform by which three spots of one lattice may miss a closed triangle
CERTAIN = 30.0  # times the median power of a ring; of white noise 1 in 10⁹ is above
SECOND = np.array([[1.0, 1.0], [-1.0, 2.0], [-2.0, 1.0]])  # the ring at √3, in units of the first two spots


def hexagonal(lattice: float) -> Float[np.ndarray, "2 2"]:
    """The cell vectors of a hexagonal lattice as columns, 120° apart, the first along x; `lattice`: Å."""
    return lattice * np.array([[1.0, -0.5], [0.0, np.sqrt(0.75)]])


def lattice_spots(
    image: Float[np.ndarray, "ny nx"], pixel: float, lattice: float, layers: int
) -> list[tuple[Float[np.ndarray, "k 2"], Float[np.ndarray, "k 2"]]]:
    """For each layer the Miller indices of its spots and where they are, cycles per Å; k is 3 to 6.

    Three spots of the first ring belong to one layer when they close a triangle, which holds however the lattice is
    turned and stretched. Of the second ring those are taken that stand out. `pixel` and `lattice`: Å.
    Raises `InputError` where fewer than `layers` lattices are seen, and for an image of fewer than three cells.
    """
    field = pixel * min(image.shape)
    if field < 3 * lattice:
        raise InputError(f"A field of {field:.3g} Å is too small for a lattice of {lattice:g} Å; give three cells.")
    transform = _Transform(image, pixel)
    radius = 2 / np.sqrt(3) / lattice
    first = transform.refined(transform.peaks(radius, 6 * layers))
    found = []
    for triple in _triangles(first, transform.power(first), CLOSURE / field)[:layers]:
        basis = _positive(first[list(triple)])
        indices = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]])
        rough = SECOND @ basis
        second = transform.refined(rough)
        seen = transform.power(second) > CERTAIN * transform.ground(np.sqrt(3) * radius)
        seen &= np.linalg.norm(second - rough, axis=1) < 1.5 / field
        spots = np.concatenate([basis, basis[1:] - basis[:1], second[seen]])
        spots[2] = transform.refined(spots[2:3])[0]
        found.append((np.concatenate([indices, SECOND[seen]]), spots))
    if len(found) < layers:
        raise InputError(
            f"The image shows {len(found)} of {layers} hexagonal lattices of {lattice:g} Å (± {WITHIN:.0%}); check the "
            f"pixel size of {pixel:g} Å, and that layers are turned by more than {np.rad2deg(2 / field / radius):.0f}°."
        )
    return found


class _Transform:
    """The Fourier transform of a windowed image at any frequency, with derivatives."""

    def __init__(self, image: Float[np.ndarray, "ny nx"], pixel: float):
        ny, nx = image.shape
        window = np.hanning(ny)[:, None] * np.hanning(nx)[None]
        self.data = (image - np.average(image, weights=window)) * window + 0j  # complex, as what it is multiplied with
        self.pixel, self.step = pixel, 1 / (pixel * min(ny, nx))
        self.y, self.x = (pixel * (np.arange(n) - n // 2) for n in (ny, nx))
        self.fft = np.abs(np.fft.fft2(self.data, (2 * ny, 2 * nx))) ** 2
        frequencies = np.meshgrid(*(np.fft.fftfreq(2 * n, pixel) for n in (nx, ny)))
        self.frequencies = np.stack(frequencies, axis=-1)
        self.radii = np.linalg.norm(self.frequencies, axis=-1)

    def ground(self, radius: float) -> float:
        """The median power near a radius, cycles per Å."""
        return float(np.median(self.fft[np.abs(self.radii / radius - 1) < WITHIN]))

    def peaks(self, radius: float, most: int) -> Float[np.ndarray, "p 2"]:
        """The strongest maxima of a ring, one of each pair ±k."""
        kx, ky = np.moveaxis(self.frequencies, -1, 0)
        chosen = (np.abs(self.radii / radius - 1) < WITHIN) & ((ky > 0) | ((ky == 0) & (kx > 0)))
        chosen &= (self.fft == maximum_filter(self.fft, 5, mode="wrap")) & (self.fft > CERTAIN * self.ground(radius))
        order = np.argsort(self.fft[chosen])[::-1][:most]
        return self.frequencies[chosen][order]

    def moments(self, k: Float[np.ndarray, "p 2"]) -> Complex[np.ndarray, "3 3 p"]:
        """Derivatives [a, b] of the transform at k, a times along x and b times along y."""
        powers = np.arange(3)[:, None, None]
        row = (-2j * np.pi * self.x) ** powers * np.exp(-2j * np.pi * k[:, :1] * self.x)
        column = (-2j * np.pi * self.y) ** powers * np.exp(-2j * np.pi * k[:, 1:] * self.y)
        return np.einsum("bpy,apy->abp", column, row @ self.data.T)

    def power(self, k: Float[np.ndarray, "p 2"]) -> Float[np.ndarray, " p"]:
        """The power at each k."""
        return np.abs(self.moments(k)[0, 0]) ** 2

    def refined(self, k: Float[np.ndarray, "p 2"]) -> Float[np.ndarray, "p 2"]:
        """The maxima of the power near k, by Newton's method in steps of at most half a pixel of the transform."""
        step = np.full_like(k, np.inf)
        for _ in range(12):
            if np.abs(step).max(initial=0.0) < 1e-5 * self.step:
                break
            (value, dy, dyy), (dx, dxy, _), (dxx, _, _) = self.moments(k)
            gradient = np.stack([(value.conj() * d).real for d in (dx, dy)], axis=-1)
            second = ((dxx, dx, dx), (dxy, dx, dy), (dyy, dy, dy))
            xx, xy, yy = ((value.conj() * d + a.conj() * b).real for d, a, b in second)
            hessian = np.stack([xx, xy, xy, yy], axis=-1).reshape(-1, 2, 2)
            concave = np.linalg.eigvalsh(hessian)[:, -1] < 0  # elsewhere the way up is along the gradient
            hessian[~concave] = -np.eye(2) * np.abs(hessian[~concave]).max(initial=1e-300)
            step = -np.linalg.solve(hessian, gradient[..., None])[..., 0]
            length = np.maximum(np.linalg.norm(step, axis=-1, keepdims=True), 1e-300)
            step = step * np.minimum(1, 0.5 * self.step / length)
            k = k + step
        return k


def _triangles(spots: np.ndarray, power: np.ndarray, closure: float) -> list[tuple[int, ...]]:
    """Triples of spots that close a triangle with some signs, strongest first, no spot twice."""
    closed = []
    for triple in combinations(range(len(spots)), 3):
        gaps = [np.linalg.norm(np.array([1, *signs]) @ spots[list(triple)]) for signs in product((1, -1), repeat=2)]
        if min(gaps) < closure:
            closed.append((power[list(triple)].min(), triple))
    chosen: list[tuple[int, ...]] = []
    for _, triple in sorted(closed, reverse=True):
        if not any(set(triple) & set(other) for other in chosen):
            chosen.append(triple)
    return chosen


def _positive(triple: Float[np.ndarray, "3 2"]) -> Float[np.ndarray, "2 2"]:
    """Two of the six spots ± of a triple that are 60° apart, the first nearest to the x axis but above it."""
    both = np.concatenate([triple, -triple])
    angles = np.arctan2(both[:, 1], both[:, 0]) % (2 * np.pi)
    return both[np.argsort(angles)][:2]
