"""How far a found model is from a known truth."""

import jax.numpy as jnp
import numpy as np
from scipy.spatial import KDTree

from jaxaet.core import euler_angles, rigid_alignment, rotation_matrix
from jaxaet.inverse import Model
from jaxaet.specimen import Atoms

_MATCH = 0.8  # Å, farther from every true atom than this is no match
_MIRROR = np.array([1.0, 1.0, -1.0])


def score(
    model: Model, truth: Atoms, true_angles: np.ndarray | None
) -> tuple[dict, dict[str, np.ndarray], tuple[np.ndarray, np.ndarray] | None]:
    """Metrics against the truth, the errors (n, 3) in Å of the matched atoms of each true species, and the angles.

    The angles are those found and the true ones, both (k, 3) rad, or None where the true ones are unknown.

    The found atoms are turned and moved as a whole onto the true ones, and mirrored along the beam if that is nearer:
    where angles were found from the images alone, nothing tells the two hands apart. The found angles turn along.
    """
    found, true = np.asarray(model.atoms.positions, float), np.asarray(truth.positions, float)
    trials = [_align(found * hand, true) for hand in (np.ones(3), _MIRROR)]
    mirrored = bool((trials[1][2] < _MATCH).sum() > (trials[0][2] < _MATCH).sum())
    aligned, rotation, distance, index = trials[mirrored]
    matched = (distance < _MATCH) & _first(index, distance)
    errors: dict[str, np.ndarray] = {}
    metrics: dict = {"rmsd_pm": {}, "atoms_found": {}, "atoms_true": {}}
    for label, name in enumerate(truth.species):
        of_species = truth.labels == label
        good = matched & of_species
        errors[name] = (aligned[index[good]] - true[good]).astype(float)
        metrics["rmsd_pm"][name] = (
            100 * float(np.sqrt(np.mean(np.sum(errors[name] ** 2, axis=1)))) if good.any() else None
        )
        metrics["atoms_found"][name], metrics["atoms_true"][name] = int(good.sum()), int(of_species.sum())
    every = np.concatenate(list(errors.values()))
    metrics["rmsd_all_pm"] = 100 * float(np.sqrt(np.mean(np.sum(every**2, axis=1)))) if len(every) else None
    metrics["atoms_found_percent"] = 100 * float(matched.mean())
    metrics["atoms_spurious"] = len(found) - int(matched.sum())
    named = model.atoms.symbols[index[matched]] == truth.symbols[matched]
    metrics["species_right_percent"] = 100 * float(named.mean()) if matched.any() else 0.0
    metrics["mirrored_along_beam"] = mirrored
    compared = None
    if true_angles is not None:
        angles = np.asarray(model.microscope.tilts.angles, float) * np.where(mirrored, [1, -1, -1], 1)
        turned = euler_angles(jnp.asarray(rotation @ np.asarray(rotation_matrix(jnp.asarray(angles)))))
        compared = np.asarray(turned), np.asarray(true_angles)
        metrics["angle_rms_error_deg"] = float(np.sqrt(np.mean(np.rad2deg(compared[0] - compared[1]) ** 2)))
    return metrics, errors, compared


def _align(found: np.ndarray, true: np.ndarray):
    """Nearest atoms and the rigid motion that suits them, in turn: (aligned, rotation, distance, index)."""
    rotation, shift = np.eye(3), true.mean(axis=0) - found.mean(axis=0)
    if len(found) == 0:
        return found, rotation, np.full(len(true), np.inf), np.zeros(len(true), int)
    for reach in (3.0, 2.0, 2.0, 1.5, 1.5, 1.2, 1.2, 1.0, 1.0, _MATCH, _MATCH, _MATCH):
        distance, index = (np.asarray(x) for x in KDTree(found @ rotation.T + shift).query(true))
        near = distance < reach
        if near.sum() < 4:
            break
        turn, move = rigid_alignment(jnp.asarray(found[index[near]]), jnp.asarray(true[near]))
        rotation, shift = np.asarray(turn, float), np.asarray(move, float)
    aligned = found @ rotation.T + shift
    distance, index = (np.asarray(x) for x in KDTree(aligned).query(true))
    return aligned, rotation, distance, index


def _first(index: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Whether each true atom is the nearest of those that claim the same found atom."""
    order = np.argsort(distance)
    first = np.zeros(len(index), bool)
    first[order[np.unique(index[order], return_index=True)[1]]] = True
    return first
