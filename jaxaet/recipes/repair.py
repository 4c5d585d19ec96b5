"""Between two fits: which atoms to remove, to join, to split and to add."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from scipy.spatial import KDTree

from jaxaet.core import Images, InputError, project
from jaxaet.forward import probe_profile
from jaxaet.instrument import Microscope
from jaxaet.inverse import Model
from jaxaet.recipes.config import Config
from jaxaet.recipes.pipeline import atom_width, doubt, expected_weights, explained
from jaxaet.specimen import Atoms
from jaxaet.tomography import elongation, merge_close, missing_atoms, species_weights

_VIEWS = 3  # images that must show an atom, or its place along the beam is a guess
_FEW = 0.08  # of all atoms: with more changes than this the residual shows the changes
_CLEAR, _SHARE = 2.5, 0.3  # standard errors of elongation, and share of either half, from which an atom is two


def repaired(model: Model, images: Images, likelihood, config: Config, extent) -> tuple[Model, int, int]:
    """The model less faint and coinciding atoms, plus those its residual asks for: (model, removed, added)."""
    microscope, before, distance = model.microscope, len(model.atoms), config.tracing.min_distance_a
    kept, joined = pruned(model, config, extent)
    if before - len(kept) > _FEW * before:  # what these explained is in the residual until the rest is fitted again
        return Model(kept, microscope), before - len(kept), 0
    weights, typical = np.asarray(kept.composition[:, 0]), typical_weights(kept, config, microscope)
    faintest = config.tracing.min_weight * typical.min()
    width = atom_width(kept, microscope)
    mean = explained(Model(kept, microscope), images, config)
    residual = Images(images.data - mean, microscope.tilts.angles, images.grid)
    information = likelihood.information(mean)
    information = information / jnp.maximum(1.0, jnp.mean(information * residual.data**2))
    new, strength = missing_atoms(
        residual, information, width, extent, 0.8 * config.reconstruction.voxel_a, microscope.tilts.shifts,
        np.asarray(kept.positions), 0.6 * distance,
    )  # fmt: skip
    strength = strength / (counts_per_atom(kept, microscope) * float(images.grid.sampling) ** 2)
    new, new_weights = new[strength > faintest], 0.7 * strength[strength > faintest]
    scores, shares, arms = elongations(residual, information, width, kept, microscope, distance)
    split = np.flatnonzero((scores > _CLEAR) & (shares > _SHARE) & ~joined & (weights > 2 * faintest))
    centres = np.asarray(kept.positions)[split]
    if len(split) and len(new):  # what one atom leaves of two is found beside it as well
        far = KDTree(centres).query(new)[0] > 1.5 * distance
        new, new_weights = new[far], new_weights[far]
    new = np.concatenate([new, centres + arms[split], centres - arms[split]])
    new_weights = np.concatenate([new_weights, np.tile(0.5 * weights[split], 2)])
    rest = kept.select(np.setdiff1d(np.arange(len(kept)), split))
    added = Atoms(new, new_weights[:, None], 0.0, kept.species, kept.species_u2)
    return Model(rest.join(added), microscope), before - len(rest), len(added)


def elongations(residual, information, width, atoms: Atoms, microscope: Microscope, distance: float):
    """How much each atom looks like two: in standard errors, the share of either, and the vector to either of them, Å.

    The share is a half of two atoms that stand where they are tried, and about nothing of one that vibrates.
    """
    test, shifts = eqx.filter_jit(elongation), microscope.tilts.shifts
    arms = 0.7 * distance * np.eye(3)
    trials = [
        test(residual, information, width, shifts, atoms.positions, jnp.asarray(arm, dtype=float)) for arm in arms
    ]
    scores, counts = (np.stack(part) for part in zip(*trials, strict=True))
    along = scores.argmax(axis=0), np.arange(len(atoms))
    weights = np.asarray(atoms.composition[:, 0])
    return scores[along], counts[along] / (counts_per_atom(atoms, microscope) * weights), arms[along[0]]


def pruned(model: Model, config: Config, extent) -> tuple[Atoms, np.ndarray]:
    """The bright atoms inside the volume, those too close together joined into one, and which ones were joined.

    Raises `InputError` when none is left.
    """
    atoms = model.atoms
    weights, positions = np.asarray(atoms.composition[:, 0]), np.asarray(atoms.positions)
    nothing = InputError("No atom is left that explains the images; check the angles and the specimen's species.")
    if not (weights > 0).any():
        raise nothing
    kept = weights > config.tracing.min_weight * typical_weights(atoms, config, model.microscope).min()
    kept &= np.all(np.abs(positions) < 0.5 * np.asarray(extent), axis=1)
    kept &= views(model) >= _VIEWS
    if not kept.any():
        raise nothing
    positions, weights, count = merge_close(positions[kept], weights[kept], config.tracing.min_distance_a)
    return Atoms(positions, weights[:, None], 0.0, atoms.species, atoms.species_u2), count > 1


def views(model: Model) -> np.ndarray:
    """In how many images the centre of each atom lies, (n,)."""
    tilts, grid = model.microscope.tilts, model.microscope.grid
    pixels = np.asarray(grid.pixels(project(model.atoms.positions, tilts.angles) + tilts.shifts[:, None]))
    inside = np.all((pixels > 0) & (pixels < np.array(grid.shape[::-1]) - 1), axis=-1)
    return inside.sum(axis=0)


def typical_weights(atoms: Atoms, config: Config, microscope: Microscope) -> np.ndarray:
    """The weight of an atom of each species, in units of the first, (s,)."""
    weights = np.asarray(atoms.composition[:, 0])
    return species_weights(weights, expected_weights(config, microscope), doubt(config))


def counts_per_atom(atoms: Atoms, microscope: Microscope) -> float:
    """Counts in an image of one atom of the first species, per Å² of pixel."""
    amplitudes, _ = probe_profile(atoms.species, microscope.beam, microscope.annular)
    return float(amplitudes[0].sum() * microscope.beam.dose * jnp.mean(microscope.scale))
