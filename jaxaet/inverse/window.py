"""A window around one atom in all images, small enough for a dear forward model."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxaet.core import Grid, Images, project
from jaxaet.forward import Multislice
from jaxaet.inverse.problem import Model, Problem
from jaxaet.inverse.rfactors import r1_factor
from jaxaet.specimen import Atoms

_REACH = 8.0  # Å beyond a window, from where atoms still matter


class Window(eqx.Module):
    """One atom, its surroundings and a few pixels of every image.

    `problem`: of the window alone, with the atom first. `place`: of the atom, (3,) Å.
    """

    problem: Problem
    place: Float[Array, "3"]

    def model(self, offset: Float[Array, "3"]) -> Model:
        """The window with its atom `offset` Å from where it was."""
        moved = self.problem.model.atoms.positions.at[0].add(offset)
        return eqx.tree_at(lambda m: m.atoms.positions, self.problem.model, moved)

    def mean(self, offset: Float[Array, "3"]) -> Float[Array, "k ny nx"]:
        """The dear images of the window."""
        model = self.model(offset)
        return self.problem.forward(model.atoms, model.microscope).data

    def loss(self, offset: Float[Array, "3"]) -> Float[Array, ""]:
        """The negative log-likelihood of the window."""
        return jnp.sum(self.problem.likelihood.loss(self.mean(offset), self.problem.data.data))

    def misfit(self, offset: Float[Array, "3"]) -> Float[Array, ""]:
        """R1 of the window."""
        return r1_factor(self.problem.data.data, self.mean(offset))

    def inverse_curvature(self) -> Float[Array, "3 3"]:
        """The inverse of the information about the atom's place, (3, 3) Å²."""
        mean, push = jax.linearize(self.mean, jnp.zeros(3, self.place.dtype))
        jacobian = jax.lax.map(push, jnp.eye(3, dtype=mean.dtype)).reshape(3, -1)
        weight = self.problem.likelihood.information(mean).reshape(1, -1)
        return jnp.linalg.inv((jacobian * weight) @ jacobian.T)


def windowed(problem: Problem, model: Model, atom: int, pixels: int) -> Window:
    """The window of `pixels` × `pixels` around an atom of `model` in every image of the problem.

    The number of atoms in it is rounded up, so that few shapes are compiled. Windows at the edge of an image are
    moved inwards.
    """
    grid, tilts = model.microscope.grid, model.microscope.tilts
    sampling = float(grid.sampling)
    seen = np.asarray(project(model.atoms.positions, tilts.angles) + tilts.shifts[:, None], float)
    centre = np.asarray(grid.pixels(jnp.asarray(seen[:, atom])))
    first = np.rint(centre).astype(int) - pixels // 2
    first = np.clip(first, 0, np.maximum(np.array(grid.shape[::-1]) - pixels, 0))
    data = np.asarray(problem.data.data)
    cut = _cut(data, first, pixels)
    away = np.max(np.abs(seen - seen[:, atom : atom + 1]), axis=-1).min(axis=0)
    near = np.flatnonzero(away < 0.5 * pixels * sampling + _REACH)
    near = np.concatenate([[atom], near[near != atom]])
    atoms = model.atoms.select(near)
    room = -len(near) % 32
    atoms = atoms.join(_nothing(atoms.select(np.zeros(room, int)))) if room else atoms
    forward = _smaller(problem.forward, cut.shape[1:], np.concatenate([near, np.zeros(room, int)]))
    origin = np.array(grid.shape[::-1]) // 2 - pixels // 2 - first
    under = model.microscope.background
    microscope = eqx.tree_at(
        lambda m: (m.tilts.shifts, m.grid, m.background), model.microscope,
        (
            tilts.shifts + jnp.asarray(origin * sampling, tilts.shifts.dtype), Grid(cut.shape[1:], grid.sampling),
            None if under is None else jnp.asarray(_cut(np.asarray(under), first, pixels)),
        ),
        is_leaf=lambda leaf: leaf is None,
    )  # fmt: skip
    images = Images(jnp.asarray(cut, problem.data.data.dtype), tilts.angles, microscope.grid)
    return Window(
        Problem(forward, Model(atoms, microscope), images, problem.free, problem.likelihood),
        model.atoms.positions[atom],
    )


def _cut(images: np.ndarray, first: np.ndarray, pixels: int) -> np.ndarray:
    """The pixels of each image from its own first (column, row) on."""
    return np.stack([image[y : y + pixels, x : x + pixels] for image, (x, y) in zip(images, first, strict=True)])


def _nothing(atoms: Atoms) -> Atoms:
    """The atoms without weight, far away."""
    far, empty = jnp.full_like(atoms.positions, 1e3), jnp.zeros_like(atoms.composition)
    return eqx.tree_at(lambda a: (a.positions, a.composition), atoms, (far, empty))


def _smaller(forward, shape: tuple[int, int], atoms: np.ndarray):
    """The same multislice model for images of this shape and these atoms; any other model as it is."""
    if not isinstance(forward, Multislice):
        return forward
    return forward.for_part(shape, atoms)
