"""A dear forward model near one model: its images there, and its own derivative for every atom.

An atom changes the image only around itself, so atoms that are far apart in an image share one forward derivative:
all n atoms cost as many as there are atoms in each other's way, whatever n is (Curtis, Powell & Reid, J. Inst. Maths
Applics. 13 (1974) 117). The derivative is taken along the axes of each image, so that it holds for a turn or a shift of
the specimen too.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float, Int

from jaxaet.core import Images, rotation_matrix
from jaxaet.forward import Forward
from jaxaet.instrument import Microscope
from jaxaet.inverse.problem import Model, Problem
from jaxaet.specimen import Atoms

_AT_ONCE = 6  # derivatives that share one image


class Linearised(eqx.Module):
    """A forward model that is linear in where each image sees each atom.

    `signal`: (k, ny, nx), the images at the model it was made at, less their offset and over their scale, counts.
    `seen`: (k, n, 3), where the images see the atoms there, Å. `patches`: (k, n, 3, w, w), the derivative of the signal
    along x', y', z' in the w × w pixels around each atom, counts/Å. `corners`: (k, n, 2), the first row and column of
    each. It has a derivative in positions, angles, shifts, scales and offsets; other leaves change nothing.
    """

    signal: Float[Array, "k ny nx"]
    seen: Float[Array, "k n 3"]
    patches: Float[Array, "k n 3 w w"]
    corners: Int[Array, "k n 2"]

    def __call__(self, atoms: Atoms, microscope: Microscope) -> Images:
        """The images of the atoms where they are now, (k, ny, nx) counts."""
        width = self.patches.shape[-1]
        along = jnp.arange(width)

        def view(inputs):
            signal, step, patches, corner = inputs
            change = jnp.einsum("nc,ncyx->nyx", step, patches)
            rows, columns = (corner[:, axis, None] + width + along[None] for axis in (0, 1))
            padded = jnp.pad(signal, width).at[rows[:, :, None], columns[:, None]].add(change, mode="drop")
            return padded[width:-width, width:-width]

        step = seen_by(atoms, microscope) - self.seen
        data = jax.lax.map(view, (self.signal, step, self.patches, self.corners))
        data = microscope.scale[:, None, None] * data + microscope.pedestal
        return Images(data, microscope.tilts.angles, microscope.grid)


def seen_by(atoms: Atoms, microscope: Microscope) -> Float[Array, "k n 3"]:
    """Where each image sees each atom: x', y' from its middle and z' against the beam, Å."""
    tilts = microscope.tilts
    shifts = jnp.pad(tilts.shifts, ((0, 0), (0, 1)))
    return jnp.einsum("kab,na->knb", rotation_matrix(tilts.angles), atoms.positions) + shifts[:, None]


def linearised(forward: Forward, model: Model, image: Float[Array, "1 ny nx"], reach: float = 2.4) -> Linearised:
    """The dear forward model near a model with one image.

    `image`: what the forward model gives for it. `reach`: how far in Å from an atom the image changes with it.
    """
    atoms, microscope = model.atoms, model.microscope
    seen = seen_by(atoms, microscope)
    half = int(np.ceil(reach / float(microscope.grid.sampling)))
    width, shape = 2 * half + 1, microscope.grid.shape
    corners = np.rint(np.asarray(microscope.grid.pixels(seen[0, :, :2]), float)[:, ::-1]).astype(int) - half
    shown = np.all((corners > -width) & (corners < np.array(shape)), axis=1)
    colours = np.where(shown, coloured(corners, width), -1)
    axes = np.asarray(rotation_matrix(microscope.tilts.angles[0])).T
    together = colours[None] == np.arange(colours.max(initial=0) + 1)[:, None]
    directions = (together[:, None, :, None] * axes[None, :, None]).reshape(-1, len(colours), 3)
    directions = np.pad(directions, ((0, -len(directions) % _AT_ONCE), (0, 0), (0, 0)))
    slopes = [_slopes(forward, atoms, microscope, some) for some in directions.reshape(-1, _AT_ONCE, len(colours), 3)]
    slope = np.pad(np.concatenate(slopes), ((0, 0), (width, width), (width, width)))
    patches = np.zeros((1, len(colours), 3, width, width), slope.dtype)
    for atom in np.flatnonzero(shown):
        (top, left), first = corners[atom] + width, 3 * colours[atom]
        patches[0, atom] = slope[first : first + 3, top : top + width, left : left + width]
    scale = microscope.scale[:, None, None]
    patches = jnp.asarray(patches) / scale[..., None, None]
    return Linearised((image - microscope.pedestal) / scale, seen, patches, jnp.asarray(corners[None]))


def joined(parts: list[Linearised]) -> Linearised:
    """The linearised models of single images as one of them all."""
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def coloured(corners: Int[np.ndarray, "n 2"], width: int) -> Int[np.ndarray, " n"]:
    """A number for each square of `width` pixels, such that no two that overlap have the same."""
    colours = np.full(len(corners), -1)
    for atom in np.lexsort(corners.T):
        near = np.all(np.abs(corners - corners[atom]) < width, axis=1)
        colours[atom] = next(colour for colour in range(len(corners)) if colour not in colours[near])
    return colours


def sparse_normal_matrix(problem: Problem, forward: Linearised) -> Float[np.ndarray, "p p"]:
    """Jᵀ W J at the problem's model, in the order of `Problem.pack`.

    `forward`: the problem's. Positions must be the only free leaf of the atoms.
    """
    mean, push = jax.linearize(problem.mean, problem.leaves)
    packed = problem.pack(problem.leaves)
    weight = np.asarray(problem.likelihood.information(mean), float).reshape(-1)
    columns = []
    for kind, value in packed.items():
        if kind == "atom":
            columns.append(_derivative_of_atoms(forward, problem.model))
            continue
        for one in np.eye(value.size, dtype=value.dtype).reshape(-1, *value.shape):
            direction = {**jax.tree.map(jnp.zeros_like, packed), kind: jnp.asarray(one)}
            slope = np.asarray(push(problem.unpack(direction)), float)
            columns.append(scipy.sparse.csc_array(slope.reshape(-1, 1)))
    jacobian = scipy.sparse.hstack(columns, format="csc")
    return (jacobian.T @ scipy.sparse.diags_array(weight) @ jacobian).toarray()


def _derivative_of_atoms(forward: Linearised, model: Model) -> scipy.sparse.csc_array:
    """The derivative of all pixels with respect to the positions."""
    views, n, _, width, _ = forward.patches.shape
    rows, columns = model.microscope.grid.shape
    turn = np.asarray(rotation_matrix(model.microscope.tilts.angles), float)
    values = np.einsum("kac,kncyx->knayx", turn, np.asarray(forward.patches, float))
    values *= np.asarray(model.microscope.scale, float)[:, None, None, None, None]
    along = np.arange(width)
    corners = np.asarray(forward.corners)[:, :, None, None, None]
    y, x = corners[..., 0] + along[:, None], corners[..., 1] + along
    inside = np.broadcast_to((y >= 0) & (y < rows) & (x >= 0) & (x < columns), values.shape)
    pixel = np.broadcast_to((np.arange(views)[:, None, None, None, None] * rows + y) * columns + x, values.shape)
    parameter = np.broadcast_to((np.arange(n)[:, None] * 3 + np.arange(3))[None, :, :, None, None], values.shape)
    return scipy.sparse.csc_array(
        (values[inside], (pixel[inside], parameter[inside])), shape=(views * rows * columns, 3 * n)
    )


@eqx.filter_jit
def _slopes(forward: Forward, atoms: Atoms, microscope: Microscope, directions) -> Float[Array, "d ny nx"]:
    """The derivative of the only image along each displacement of the atoms."""

    def mean(positions):
        return forward(eqx.tree_at(lambda a: a.positions, atoms, positions), microscope).data[0]

    return jax.vmap(lambda direction: jax.jvp(mean, (atoms.positions,), (direction,))[1])(directions)
