"""Angle calibration: tilt angles and 3D coordinates from 2D atom positions (AET paper, equation 1).

    E = Σ_jk |P_j r_k + t_j - x_jk|²

over tilt angles, image shifts t and coordinates r. For given angles and shifts the coordinates are a linear
least-squares problem with a closed form, so only angles and shifts are searched (variable projection,
Golub & Pereyra 1973). The start needs no angles: an orthographic tilt series has rank three, and the views'
rotations follow from the orthonormality of their rows (Tomasi & Kanade, Int. J. Comput. Vision 9 (1992) 137).

Gauge. E does not change when the object is turned or moved, nor when it is mirrored in the image plane and all
tilts reversed. Here the centroid of the tracked atoms is the origin, their best plane is z = 0, the first view
has phi = 0, and of the two hands the one nearer to the nominal angles is taken: images alone cannot tell them apart.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import least_squares

from jaxaet.core import InputError, euler_angles, rotation_matrix

_SEARCHED = 150  # atoms with which the signs of the tilts are found
_ROBUST = 0.15  # Å, residuals beyond this count linearly: peaks that overlap are off by as much


class Calibration(NamedTuple):
    """What `calibrate_angles` found.

    `angles`: (k, 3) rad. `shifts`: (k, 2) Å. `positions`: (n, 3) Å. `residual`: rms distance of a measured
    from a projected peak along one axis, Å.
    """

    angles: Float[np.ndarray, "k 3"]
    shifts: Float[np.ndarray, "k 2"]
    positions: Float[np.ndarray, "n 3"]
    residual: float


def calibrate_angles(tracks: Float[np.ndarray, "k n 2"], nominal: Float[np.ndarray, "k 3"]) -> Calibration:
    """Angles, shifts and coordinates that explain the tracks of 2D positions best.

    `tracks`: (k, n, 2) in Å, NaN where a peak is missing; at least 3 views and 8 atoms. `nominal`: (k, 3) rad, used
    as one of the starts and to choose the hand. Raises `InputError` for too few tracks.
    """
    views, atoms = tracks.shape[:2]
    if views < 3 or atoms < 8:
        raise InputError(f"{atoms} atoms tracked through {views} views fix no angles; track at least 8 through 3.")
    seen = np.isfinite(tracks[..., 0])
    filled = np.where(seen[..., None], tracks, 0.0)
    factorised, shifts = _factorise(filled, seen)
    mean = np.sum(filled, axis=1) / np.maximum(seen.sum(axis=1), 1)[:, None]
    few = np.argsort(-seen.sum(axis=0), kind="stable")[:_SEARCHED]
    trials = []
    for start in (np.c_[factorised, shifts], np.c_[np.asarray(nominal), mean]):
        first = _refine(filled[:, few], seen[:, few], start).x.reshape(views, 5)
        agreed = _agree_on_tilts(filled, seen, first)
        trials += [_refine(filled[:, few], seen[:, few], choice) for choice in (first, agreed)]
    best = min(trials, key=lambda result: result.cost)
    best = _refine(filled, seen, best.x.reshape(views, 5), 10)
    angles, shifts = np.split(best.x.reshape(views, 5), [3], axis=1)
    positions = np.asarray(_coordinates(jnp.asarray(angles), jnp.asarray(shifts), filled, seen))
    angles, shifts, positions = _fix_gauge(angles, shifts, positions, np.asarray(nominal))
    error = np.asarray(_residuals(best.x.reshape(views, 5), filled, seen))[seen]
    return Calibration(angles, shifts, positions, float(np.sqrt(np.mean(error**2))))


@jax.jit
def _coordinates(angles, shifts, tracks, seen):
    """The best 3D coordinates for given angles and shifts, (n, 3)."""
    rows = rotation_matrix(angles)[..., :2]
    normal = jnp.einsum("kn,kai,kbi->nab", seen * 1.0, rows, rows) + 1e-9 * jnp.eye(3)[None]
    target = jnp.einsum("kn,kai,kni->na", seen * 1.0, rows, tracks - shifts[:, None])
    return jnp.linalg.solve(normal, target[..., None])[..., 0]


@jax.jit
def _residuals(parameters: Float[Array, "k 5"], tracks, seen) -> Float[Array, "k n 2"]:
    angles, shifts = parameters[:, :3], parameters[:, 3:]
    positions = _coordinates(angles, shifts, tracks, seen)
    projected = jnp.einsum("kai,na->kni", rotation_matrix(angles)[..., :2], positions) + shifts[:, None]
    return jnp.where(seen[..., None], projected - tracks, 0.0)


_slopes = jax.jit(jax.jacfwd(_residuals))


def _refine(tracks, seen, start, steps: int = 40):
    shape = start.shape
    return least_squares(
        lambda p: np.asarray(_residuals(p.reshape(shape), tracks, seen), float).ravel(),
        start.ravel(),
        lambda p: np.asarray(_slopes(p.reshape(shape), tracks, seen), float).reshape(-1, p.size),  # pyright: ignore
        loss="soft_l1",
        f_scale=_ROBUST,
        max_nfev=steps,
        xtol=1e-5,
        ftol=1e-5,
    )


def _agree_on_tilts(tracks, seen, parameters: np.ndarray) -> np.ndarray:
    """Parameters (k, 5) in which the views agree on which atoms of a rippled sheet are up.

    A view of a flat sheet and the view with its tilt reversed are alike, and a fit stays with the one it started
    from. But what an affine map of the sheet leaves unexplained in a view is its ripple, seen along its tilt; the
    leading singular vector of all these ripples says which views see them upside down.
    """
    angles, shifts = parameters[:, :3], parameters[:, 3:]
    positions = np.asarray(_coordinates(angles, shifts, tracks, seen))
    angles, _, positions = _fix_gauge(angles, shifts, positions, angles)
    tilt = np.asarray(rotation_matrix(jnp.asarray(angles)))[:, 2, :2]
    design = np.c_[positions[:, :2], np.ones(len(positions))]
    ripples = np.zeros(tracks.shape[:2])
    for view, (points, known) in enumerate(zip(tracks, seen, strict=True)):
        plane = np.linalg.lstsq(design[known], points[known], rcond=None)[0]
        ripples[view, known] = (points[known] - design[known] @ plane) @ tilt[view]
    leading = np.linalg.svd(ripples, full_matrices=False)[0][:, 0]
    angles = angles * np.where(leading < 0, -1.0, 1.0)[:, None] ** np.array([0, 1, 1])
    return np.c_[angles, shifts]


def _factorise(tracks, seen):
    """Angles and shifts from the rank-three factorisation; missing entries are filled from the previous estimate."""
    views = len(tracks)
    matrix = tracks.transpose(0, 2, 1).reshape(2 * views, -1)
    known = np.repeat(seen, 2, axis=0)
    centre = matrix.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    matrix = np.where(known, matrix, centre)
    u, s, vt = np.linalg.svd(matrix - centre, full_matrices=False)
    for _ in range(60):
        centre = matrix.mean(axis=1, keepdims=True)
        u, s, vt = np.linalg.svd(matrix - centre, full_matrices=False)
        low_rank = (u[:, :3] * s[:3]) @ vt[:3] + centre
        matrix = np.where(known, matrix, low_rank)
    motion = _metric(u[:, :3] * np.sqrt(s[:3]))
    rows = motion.reshape(views, 2, 3)
    third = np.cross(rows[:, 0], rows[:, 1])
    u, _, vt = np.linalg.svd(np.stack([rows[:, 0], rows[:, 1], third], axis=1))
    rotation = np.swapaxes(u @ vt, 1, 2)
    rotation = rotation[0].T @ rotation
    return np.asarray(euler_angles(jnp.asarray(rotation))), centre.reshape(views, 2)


def _metric(motion: np.ndarray) -> np.ndarray:
    """The motion in the basis in which every view's two rows are most nearly orthonormal."""
    first, second = motion[0::2], motion[1::2]
    pairs = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]

    def products(a, b):
        return np.stack([a[:, i] * b[:, j] + (i != j) * a[:, j] * b[:, i] for i, j in pairs], axis=1)

    design = np.concatenate([products(first, first), products(second, second), products(first, second)])
    target = np.concatenate([np.ones(2 * len(first)), np.zeros(len(first))])
    values = np.linalg.lstsq(design, target, rcond=None)[0]
    symmetric = np.zeros((3, 3))
    for (i, j), value in zip(pairs, values, strict=True):
        symmetric[i, j] = symmetric[j, i] = value
    eigenvalues, vectors = np.linalg.eigh(symmetric)
    return motion @ (vectors * np.sqrt(np.maximum(eigenvalues, 1e-3 * eigenvalues.max())))


def _fix_gauge(angles, shifts, positions, nominal):
    """Centroid at the origin, best plane horizontal, phi of the first view zero, hand nearer to the nominal angles."""
    rotation = np.asarray(rotation_matrix(jnp.asarray(angles)))
    centre = positions.mean(axis=0)
    shifts = shifts + np.einsum("kai,a->ki", rotation[..., :2], centre)
    _, _, axes = np.linalg.svd(positions - centre, full_matrices=False)
    normal = axes[2] * np.sign(axes[2] @ rotation[..., 2].mean(axis=0))
    first = rotation[0][:, 0] - normal * (normal @ rotation[0][:, 0])
    first /= np.linalg.norm(first)
    frame = np.stack([first, np.cross(normal, first), normal])
    angles = np.asarray(euler_angles(jnp.asarray(frame @ rotation)))
    positions = (positions - centre) @ frame.T
    mirrored = angles * np.array([1.0, -1.0, -1.0])
    if np.sum((mirrored - nominal) ** 2) < np.sum((angles - nominal) ** 2):
        return mirrored, shifts, positions * np.array([1.0, 1.0, -1.0])
    return angles, shifts, positions
