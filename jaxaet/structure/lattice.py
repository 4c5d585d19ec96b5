"""Twist and heterostrain of stacked hexagonal layers that share one distortion of the scan, with error bars."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.polynomial.legendre import legvander2d
from scipy.optimize import least_squares

from jaxaet.core import InputError
from jaxaet.structure.spots import hexagonal, lattice_spots

HONEYCOMB = ((1 / 3, 2 / 3), (2 / 3, 1 / 3))
NEAR = 0.25  # of the lattice constant, how far from its site an atom may be; sites of a honeycomb are 0.58 apart
SEEN = 0.6  # of a layer's atoms at least lie there; of atoms anywhere nearly half do
ROUNDS = 6  # of assigning atoms to sites and fitting
BANDS = 24  # along the slow scan, each taken as one independent error of the scan


class TwistFit(NamedTuple):
    """The lattices of stacked layers: matrices D (1 + e) R(angle) that take the ideal lattice to the image.

    `angles`: (l,) of each layer, rad, within ± 30°; `twists`: (l,) against the first layer, rad, within ± 30°.
    `distortion`: D, (2, 2) symmetric, dimensionless, common to all layers: the scan's, and the error of the pixel size;
    `stretches`: its (2,) principal values, dimensionless. `heterostrain`: e, (l, 2, 2) symmetric, dimensionless, of
    zero mean over the layers; 0 where it was not fitted. Each `*_error` is a standard error in the same unit.
    `residual`: rms distance of spots from the fit in cycles per Å, or of atoms in Å. `scan`: (k, 2) coefficients in Å
    of products of Legendre polynomials, of the orders `orders` (k, 2) along x and y in units of `side`, Å.
    """

    angles: Float[np.ndarray, " l"]
    angles_error: Float[np.ndarray, " l"]
    twists: Float[np.ndarray, " l"]
    twists_error: Float[np.ndarray, " l"]
    distortion: Float[np.ndarray, "2 2"]
    distortion_error: Float[np.ndarray, "2 2"]
    stretches: Float[np.ndarray, "2"]
    heterostrain: Float[np.ndarray, "l 2 2"]
    heterostrain_error: Float[np.ndarray, "l 2 2"]
    residual: float
    scan: Float[np.ndarray, "k 2"]
    orders: np.ndarray
    side: float


def twist_from_image(
    image: Float[np.ndarray, "ny nx"], pixel: float, lattice: float, layers: int = 2, heterostrain: bool = False
) -> TwistFit:
    """The fit to the spots of the image's Fourier transform, which needs no atoms.

    `pixel`, and `lattice` of every layer: Å. A lattice constant that differs between layers is heterostrain.
    Raises `InputError` where fewer than `layers` lattices are seen.
    """
    spots = lattice_spots(image, pixel, lattice, layers)
    ideal = np.linalg.inv(hexagonal(lattice)).T
    inverses, covariances, squares, freedom = [], [], 0.0, 0
    for indices, where in spots:
        points = indices @ ideal.T
        inverse, *_ = np.linalg.lstsq(points, where, rcond=None)  # inverse of the layer's matrix
        inverses.append(inverse)
        covariances.append(np.kron(np.linalg.inv(points.T @ points), np.eye(2)))
        squares += ((where - points @ inverse) ** 2).sum()
        freedom += 2 * len(points) - 4
    matrices = np.linalg.inv(np.array(inverses))
    covariance = np.zeros((4 * layers, 4 * layers))
    for number, (matrix, part) in enumerate(zip(matrices, covariances, strict=True)):
        slope = np.kron(matrix, matrix.T)  # of an inverse: dA = −A dB A, entries row by row
        covariance[4 * number : 4 * number + 4, 4 * number : 4 * number + 4] = slope @ part @ slope.T
    covariance *= squares / freedom
    return _common(matrices, covariance, covariance, heterostrain)._replace(
        residual=float(np.sqrt(squares / sum(len(where) for _, where in spots)))
    )


def twist_from_atoms(
    layers: Sequence[Float[np.ndarray, "_ 2"]],
    lattice: float,
    sites: Sequence[tuple[float, float]] = HONEYCOMB,
    order: int = 1,
    sigmas: Sequence[Float[np.ndarray, " _"]] | None = None,
    heterostrain: bool = False,
) -> TwistFit:
    """The weighted least-squares fit to the atoms of each layer, with a smooth distortion of the scan that all share.

    `layers`: x and y from the middle of the image, Å. `lattice`: Å, of every layer. `sites`: of the atoms, in units of
    cell vectors 120° apart; ((0.0, 0.0),) for one atom a cell. `order`: total order of the distortion's polynomials, 1
    for an affine one. `sigmas`: standard error of each atom, Å, of which only ratios count. Atoms far from all sites
    are left out. Errors are those of independent bands along y, so that jitter of the scan, which moves atoms
    together, counts once.
    Raises `InputError` for layers in which no such lattice is seen.
    """
    side = max(float(np.abs(points).max(initial=0.0)) for points in layers)
    orders = np.array([(i, n - i) for n in range(2, order + 1) for i in range(n, -1, -1)], int).reshape(-1, 2)
    starts = [_start(points, lattice, sites, side, number) for number, points in enumerate(layers, 1)]
    unknowns = np.concatenate([*starts, np.zeros((len(orders), 2))])
    everything, owner = np.concatenate(layers), np.repeat(np.arange(len(layers)), [len(points) for points in layers])
    weights = np.ones(len(everything)) if sigmas is None else np.concatenate(sigmas).astype(float) ** -2
    smooth = _smooth(everything, orders, side)

    def assigned(unknowns):
        design = _design(everything, owner, smooth, unknowns, sites, lattice)
        near = np.linalg.norm(everything - design @ unknowns, axis=1) < NEAR * lattice
        return design, weights * near

    def seen(used):
        return [float(np.mean(used[owner == number] > 0)) for number in range(len(layers))]

    design, used = assigned(unknowns)
    for _ in range(ROUNDS):
        if min(seen(used)) < SEEN / 2:
            break
        root = np.sqrt(used)[:, None]
        unknowns, *_ = np.linalg.lstsq(design * root, everything * root, rcond=None)
        design, used = assigned(unknowns)
    shares = seen(used)
    if min(shares) < SEEN:
        raise InputError(
            f"Only {min(shares):.0%} of the atoms of layer {1 + int(np.argmin(shares))} lie near the sites of a "
            f"lattice of {lattice:g} Å; check the constant, the sites, and that all atoms are of one layer."
        )
    left = (everything - design @ unknowns)[used > 0]
    rows = (3 * np.arange(len(layers))[:, None] + np.arange(2)).ravel()
    plain, banded = _covariances(design, used, everything, unknowns, rows)
    return _common(_entries(unknowns[rows]).reshape(-1, 2, 2), plain, banded, heterostrain)._replace(
        residual=float(np.sqrt((left**2).sum(axis=1).mean())),
        scan=unknowns[3 * len(layers) :],
        orders=orders,
        side=side,
    )


def undistorted(positions: Float[np.ndarray, "n 2"], fit: TwistFit) -> Float[np.ndarray, "n 2"]:
    """Positions as they would be in an image without the distortion that all layers share, Å; `positions`: Å."""
    return (positions - _smooth(positions, fit.orders, fit.side) @ fit.scan) @ np.linalg.inv(fit.distortion).T


def _common(matrices: np.ndarray, weight: np.ndarray, covariance: np.ndarray, heterostrain: bool) -> TwistFit:
    """One distortion, and an angle and a strain of each layer, from the layers' matrices (l, 2, 2).

    Least squares with the covariance `weight` of the matrices' entries, row by row; errors from `covariance`.
    """
    count = len(matrices)
    linear = _linear(count, heterostrain)
    whiten = np.linalg.inv(np.linalg.cholesky(weight))

    def parts(p):
        full = linear @ p
        return _symmetric(full[:3]), full[3 : 3 + count], _symmetric(full[3 + count :].reshape(-1, 3))

    def misfit(p):
        distortion, angles, strain = parts(p)
        return whiten @ (distortion @ (np.eye(2) + strain) @ _rotations(angles) - matrices).ravel()

    start = np.zeros(linear.shape[1])
    u, _, v = np.linalg.svd(matrices)
    start[:3], start[3 : 3 + count] = (1, 0, 1), np.arctan2((u @ v)[:, 1, 0], (u @ v)[:, 0, 0])
    found = least_squares(misfit, start, method="lm", x_scale="jac")
    inverse = linear @ np.linalg.pinv(found.jac) @ whiten
    spread = inverse @ covariance @ inverse.T
    error = np.sqrt(np.diag(spread))
    distortion, angles, strain = parts(found.x)
    between = spread[3 : 3 + count, 3]
    twists_error = np.sqrt(np.maximum(error[3 : 3 + count] ** 2 + error[3] ** 2 - 2 * between, 0))
    return TwistFit(
        _folded(angles), error[3 : 3 + count], _folded(angles - angles[0]), twists_error,
        distortion, _symmetric(error[:3]), np.linalg.eigvalsh(distortion),
        strain, _symmetric(error[3 + count :].reshape(-1, 3)),
        0.0, np.zeros((0, 2)), np.zeros((0, 2), int), 1.0,
    )  # fmt: skip


def _linear(count: int, heterostrain: bool) -> np.ndarray:
    """What takes the free numbers to distortion (3), angles (l) and strains (3 l) that add up to none."""
    strains = np.concatenate([np.eye(count - 1), -np.ones((1, count - 1))]) if heterostrain else np.zeros((count, 0))
    strains = np.kron(strains, np.eye(3))
    return np.block([
        [np.eye(3 + count), np.zeros((3 + count, strains.shape[1]))],
        [np.zeros((3 * count, 3 + count)), strains],
    ])  # fmt: skip


def _start(points: np.ndarray, lattice: float, sites, side: float, number: int) -> np.ndarray:
    """Rough (3, 2) of one layer: its matrix, transposed, and where in the image the ideal lattice's origin is."""
    pixel = lattice / 6
    edges = pixel * np.arange(-np.ceil(side / pixel) - 1, np.ceil(side / pixel) + 2)
    raster, *_ = np.histogram2d(points[:, 1], points[:, 0], [edges, edges])
    try:
        [(indices, spots)] = lattice_spots(raster, pixel, lattice, 1)
    except InputError as error:
        raise InputError(
            f"Layer {number}, of {len(points)} atoms, shows no hexagonal lattice of {lattice:g} Å; "
            "check the constant and that all atoms are of one layer."
        ) from error
    inverse, *_ = np.linalg.lstsq(indices @ np.linalg.inv(hexagonal(lattice)), spots, rcond=None)
    matrix = np.linalg.inv(inverse)
    seen = np.exp(-2j * np.pi * points @ spots[:2].T).sum(axis=0)
    expected = np.exp(-2j * np.pi * np.asarray(sites) @ indices[:2].T).sum(axis=0)
    return np.concatenate([matrix.T, [matrix @ hexagonal(lattice) @ (-np.angle(seen / expected) / 2 / np.pi)]])


def _design(points, owner, smooth, unknowns, sites, lattice: float) -> np.ndarray:
    """The (n, 3 l + k) matrix of the fit: for each atom the ideal position of the nearest site of its own layer."""
    blocks, cell = unknowns[: len(unknowns) - smooth.shape[1]].reshape(-1, 3, 2), hexagonal(lattice)
    scanned = points - smooth @ unknowns[3 * len(blocks) :] - blocks[owner, 2]
    ideal = np.einsum("nc,nci->ni", scanned, np.linalg.inv(blocks[:, :2])[owner])
    fractional = (ideal @ np.linalg.inv(cell).T)[:, None] - np.asarray(sites)[None]
    off = np.linalg.norm((fractional - np.rint(fractional)) @ cell.T, axis=-1)
    nearest = off.argmin(axis=1)
    cells = np.rint(fractional[np.arange(len(points)), nearest]) + np.asarray(sites)[nearest]
    block = np.concatenate([cells @ cell.T, np.ones((len(points), 1))], axis=1)
    design = np.zeros((len(points), len(blocks), 3))
    design[np.arange(len(points)), owner] = block
    return np.concatenate([design.reshape(len(points), -1), smooth], axis=1)


def _covariances(design, weights, values, unknowns, rows) -> tuple[np.ndarray, np.ndarray]:
    """Of the entries, row by row, of the layers' matrices: for independent atoms, and by leaving out one band of y."""
    weighted, y = design * weights[:, None], values[:, 1]
    normal, right = weighted.T @ design, weighted.T @ values
    freedom = 2 * (np.count_nonzero(weights) - len(unknowns))
    variance = (weights[:, None] * (values - design @ unknowns) ** 2).sum() / freedom
    band = np.minimum((BANDS * (y - y.min()) / np.ptp(y)).astype(int), BANDS - 1)
    changes = []
    for number in range(BANDS):
        part = band == number
        others = normal - weighted[part].T @ design[part], right - weighted[part].T @ values[part]
        changes.append(_entries((np.linalg.solve(*others) - unknowns)[rows]))
    count = len(rows) // 2
    plain = np.kron(np.linalg.inv(normal)[np.ix_(rows, rows)], variance * np.eye(2)).reshape(count, 2, 2, count, 2, 2)
    plain = plain.transpose(0, 2, 1, 3, 5, 4).reshape(4 * count, 4 * count)
    return plain, (BANDS - 1) / BANDS * np.transpose(changes) @ np.array(changes)


def _entries(rows: np.ndarray) -> np.ndarray:
    """The entries, row by row, of each layer's matrix from the unknowns (2 l, 2) that are its transpose."""
    return rows.reshape(-1, 2, 2).swapaxes(1, 2).ravel()


def _smooth(positions: np.ndarray, orders: np.ndarray, side: float) -> np.ndarray:
    """Products of Legendre polynomials at each position, (n, k)."""
    if not len(orders):
        return np.zeros((len(positions), 0))
    most = int(orders.max())
    x, y = (positions / side).T
    table = legvander2d(x, y, [most, most]).reshape(-1, most + 1, most + 1)
    return table[:, orders[:, 0], orders[:, 1]]


def _symmetric(three: np.ndarray) -> np.ndarray:
    return three[..., [0, 1, 1, 2]].reshape(*three.shape[:-1], 2, 2)


def _rotations(angles: np.ndarray) -> np.ndarray:
    c, s = np.cos(angles), np.sin(angles)
    return np.stack([c, -s, s, c], axis=-1).reshape(-1, 2, 2)


def _folded(angles: np.ndarray) -> np.ndarray:
    """Angles within ± 30°, which a hexagonal lattice does not tell from others 60° apart."""
    return -((np.pi / 6 - angles) % (np.pi / 3) - np.pi / 6)
