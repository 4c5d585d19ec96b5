"""Which peak of one image is which peak of another, for a sheet whose tilts are unknown.

A sheet is nearly flat, so each view of it is nearly an affine image of any other. The affine map is searched over
all tilts up to `MOST` and then polished on the peaks themselves; ripples shift single peaks by less than a bond length.
"""

import numpy as np
from jaxtyping import Float
from scipy.spatial import ConvexHull, KDTree

from jaxaet.core import InputError

MOST = np.deg2rad(42.0)
_STEP = np.deg2rad(3.0)
_NEAR = 0.7  # Å, a peak this close to the predicted place is the same one in the search
_RIPPLE = 1.0  # Å, and this close once the map is known


def match_sheet(peaks: list[Float[np.ndarray, "m 2"]]) -> Float[np.ndarray, "k n 2"]:
    """Tracks of the peaks through the tilt series, (k, n, 2) in Å, NaN where a peak was not found.

    `peaks`: the (x, y) of the peaks of each image, Å from the origin, which all images show within about a bond length.
    The view of largest area, the one least tilted, gives the list of peaks; a track needs three views out of four.
    Raises `InputError` when the views cannot be matched.
    """
    reference = int(np.argmax([ConvexHull(points).volume for points in peaks]))
    tracks = np.full((len(peaks), len(peaks[reference]), 2), np.nan)
    for view, points in enumerate(peaks):
        matrix, offset, found = _affine(peaks[reference], points)
        if found < 0.3:
            raise InputError(
                f"Only {found:.0%} of the atoms of image {reference + 1} were found again in image {view + 1}; "
                "set calibration.angles to refine and give angles that are nearer the truth."
            )
        predicted = peaks[reference] @ matrix.T + offset
        distance, index = (np.asarray(x) for x in KDTree(points).query(predicted))
        back = np.asarray(KDTree(predicted).query(points)[1])
        same = (distance < _RIPPLE) & (back[index] == np.arange(len(predicted)))
        tracks[view, same] = points[index[same]]
    return tracks[:, np.isfinite(tracks[..., 0]).mean(axis=0) >= 0.75]


def _affine(reference, points) -> tuple[np.ndarray, np.ndarray, float]:
    """The affine map from the reference to other peaks, its offset, and the share of peaks it explains."""
    tree = KDTree(points)
    tilts = np.arange(-MOST, MOST + _STEP, _STEP)
    candidates = []
    for theta in tilts[tilts > -_STEP / 2]:
        for psi in tilts:
            matrix = np.array([[np.cos(theta), 0.0], [np.sin(theta) * np.sin(psi), np.cos(psi)]])
            distance, _ = tree.query(reference @ matrix.T, distance_upper_bound=_NEAR)
            candidates.append((np.isfinite(distance).mean(), theta, matrix))
    best = sorted(candidates, key=lambda item: -item[0])[:8]
    return max((_polish(reference, points, tree, matrix) for _, _, matrix in best), key=lambda item: item[2])


def _polish(reference, points, tree, matrix) -> tuple[np.ndarray, np.ndarray, float]:
    """Alternate between nearest peaks and the best affine map, over a region that grows from the centre."""
    offset = np.zeros(2)
    radius = np.linalg.norm(reference, axis=1)
    for share in np.repeat([0.3, 0.5, 0.75, 1.0], 4):
        inner = reference[radius <= share * radius.max()]
        distance, index = tree.query(inner @ matrix.T + offset)
        index = np.asarray(index)
        near = distance < _RIPPLE
        if near.sum() < 12:
            break
        design = np.c_[inner[near], np.ones(near.sum())]
        solution = np.linalg.lstsq(design, points[index[near]], rcond=None)[0]
        matrix, offset = solution[:2].T, solution[2]
    distance, _ = tree.query(reference @ matrix.T + offset)
    return matrix, offset, float((distance < _NEAR).mean())
