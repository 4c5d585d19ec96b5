"""Which atoms of a crystal are bonded and which bonds make an angle: found once, used while the atoms move a little."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.spatial import KDTree

from jaxaet.core import InputError
from jaxaet.specimen import Crystal

TOO_CLOSE = 1.0  # Å: no two atoms of any solid are nearer


class Topology(eqx.Module):
    """The bonds and angles of a crystal, with the cell each atom lies in.

    `bonds`: (b, 2) atoms i, j; `bond_images`: (b, 3) the cell of j when i is in the first one; `bond_kinds`: (b,).
    `angles`: (t, 3) the apex and its two neighbours; `angle_images`: (t, 2, 3) the neighbours' cells; `angle_kinds`:
    (t, 3) kinds of its two bonds and of the angle itself. `pairs`: (m, 2) and `pair_images`: (m, 3), all pairs that
    force constants couple; `slots`: (4 b + 9 t,) into which pair each block of a bond or angle goes.
    `positions`: (n, 3) and `cell`: (3, 3), where the list was made, in Å; `reach`: the largest cut-off, `skin`: how
    much beyond it was searched, Å.
    """

    bonds: Int[Array, "b 2"]
    bond_images: Int[Array, "b 3"]
    bond_kinds: Int[Array, " b"]
    angles: Int[Array, "t 3"]
    angle_images: Int[Array, "t 2 3"]
    angle_kinds: Int[Array, "t 3"]
    pairs: Int[Array, "m 2"]
    pair_images: Int[Array, "m 3"]
    slots: Int[Array, " e"]
    positions: Float[Array, "n 3"]
    cell: Float[Array, "3 3"]
    reach: Float[Array, ""]
    skin: Float[Array, ""]

    def bond_vectors(self, crystal: Crystal) -> Float[Array, "b 3"]:
        """From the first atom of each bond to the second, (b, 3) in Å."""
        positions = crystal.atoms.positions
        i, j = self.bonds.T
        return positions[j] + self.bond_images.astype(positions.dtype) @ crystal.cell - positions[i]

    def angle_vectors(self, crystal: Crystal) -> Float[Array, "t 2 3"]:
        """From the apex of each angle to its two neighbours, (t, 2, 3) in Å."""
        positions = crystal.atoms.positions
        ends = positions[self.angles[:, 1:]] + self.angle_images.astype(positions.dtype) @ crystal.cell
        return ends - positions[self.angles[:, :1]]

    def valid(self, crystal: Crystal) -> Array:
        """Whether no pair can have come within reach that is not in the list: a boolean, also under jit.

        A pair was at least reach + skin apart. A strain F shortens it by no more than the factor 1 - |F - 1|, and
        displacements by twice the largest.
        """
        positions, cell = jax.lax.stop_gradient((crystal.atoms.positions, crystal.cell))
        strain = jnp.linalg.inv(self.cell) @ cell
        moved = jnp.sqrt(jnp.max(jnp.sum((positions - self.positions @ strain) ** 2, axis=1), initial=0.0))
        shortest = (1 - jnp.linalg.norm(strain - jnp.eye(3))) * (self.reach + self.skin) - 2 * moved
        return shortest >= self.reach


def find_topology(
    crystal: Crystal,
    cutoffs: Float[np.ndarray, "s s"],
    bond_kind: Int[np.ndarray, "s s"],
    angle_kind: Int[np.ndarray, "s s s"],
    skin: float = 0.5,
    sort_angles: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> Topology:
    """The bonds and angles of a crystal. It runs on the host.

    `cutoffs`: Å between two species, 0 for none; `bond_kind`: a number for two species, and `angle_kind`: for an apex
    and its two ends; -1 for none. `skin`: Å searched beyond the cut-offs, so that the list lasts while atoms move.
    `sort_angles`: the kinds of angles from those and the vectors to their ends, (t,) and (t, 2, 3) in Å, where shape
    decides.
    Raises `InputError` for atoms nearer than 1 Å, positions that are not numbers and an atom shared between species.
    """
    labels = one_species(crystal)
    first, second, images = neighbours(crystal, float(cutoffs.max()) + skin)
    distances = np.linalg.norm(separations(crystal, first, second, images), axis=1)
    refuse_contacts(first, second, distances)
    kinds = bond_kind[labels[first], labels[second]]
    bonded = (kinds >= 0) & (distances < cutoffs[labels[first], labels[second]] + skin)
    first, second, images, kinds = first[bonded], second[bonded], images[bonded], kinds[bonded]
    once = np.array([(i, *s) < (j, *-s) for i, j, s in zip(first, second, images, strict=True)], dtype=bool)
    left, right = angles_of(first)
    triples = angle_kind[labels[first[left]], labels[second[left]], labels[second[right]]]
    if sort_angles is not None:
        vectors = separations(crystal, first, second, images)
        triples = sort_angles(triples, np.stack([vectors[left], vectors[right]], axis=1))
    left, right, triples = left[triples >= 0], right[triples >= 0], triples[triples >= 0]
    bonds, bond_images = np.stack([first, second], axis=1)[once], images[once]
    angles = np.stack([first[left], second[left], second[right]], axis=1)
    angle_images = np.stack([images[left], images[right]], axis=1)
    pairs, pair_images, slots = pair_list(bonds, bond_images, angles, angle_images, len(crystal))
    return Topology(
        bonds=jnp.asarray(bonds),
        bond_images=jnp.asarray(bond_images),
        bond_kinds=jnp.asarray(kinds[once]),
        angles=jnp.asarray(angles),
        angle_images=jnp.asarray(angle_images),
        angle_kinds=jnp.asarray(np.stack([kinds[left], kinds[right], triples], axis=1)),
        pairs=jnp.asarray(pairs),
        pair_images=jnp.asarray(pair_images),
        slots=jnp.asarray(slots),
        positions=crystal.atoms.positions,
        cell=crystal.cell,
        reach=jnp.asarray(float(cutoffs.max())),
        skin=jnp.asarray(float(skin)),
    )


def one_species(crystal: Crystal) -> Int[np.ndarray, " n"]:
    """The species of each atom, (n,); `InputError` for an atom that is partly vacant or shared, or nowhere."""
    composition = np.asarray(crystal.atoms.composition)
    odd = np.flatnonzero(composition.max(axis=1, initial=0.0) < 0.5)
    if len(odd):
        raise InputError(
            f"Atom {odd[0]} has the composition {composition[odd[0]].tolist()} and so no species; leave vacancies out "
            "of a crystal by `atoms.select`."
        )
    if not np.isfinite(np.asarray(crystal.atoms.positions)).all():
        raise InputError("The crystal has positions that are not finite; correct or leave out those atoms.")
    return composition.argmax(axis=1)


def neighbours(
    crystal: Crystal, radius: float
) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"], Int[np.ndarray, "p 3"]]:
    """All pairs nearer than `radius` Å, both ways round: atoms i and j, each (p,), and the cell of j, (p, 3)."""
    positions, cell = np.asarray(crystal.atoms.positions, float), np.asarray(crystal.cell, float)
    periodic = np.array(crystal.periodic)
    base = np.where(periodic, np.floor(positions @ np.linalg.inv(cell)), 0).astype(int)
    wrapped = positions - base @ cell
    reach = np.where(periodic, np.ceil(radius * np.linalg.norm(np.linalg.inv(cell), axis=0)), 0).astype(int)
    shifts = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), axis=-1).reshape(-1, 3)
    tree = KDTree(wrapped)
    found = []
    for shift in shifts:
        near = tree.sparse_distance_matrix(KDTree(wrapped + shift @ cell), radius, output_type="ndarray")
        i, j = near["i"].astype(int), near["j"].astype(int)
        kept = (i != j) | shift.any()
        i, j = i[kept], j[kept]
        found.append(np.column_stack([i, j, shift - base[j] + base[i]]))
    table = np.concatenate(found)
    table = table[np.lexsort(table.T[::-1])]
    return table[:, 0], table[:, 1], table[:, 2:]


def separations(crystal: Crystal, first, second, images) -> Float[np.ndarray, "p 3"]:
    """The vectors of the pairs, (p, 3) in Å."""
    positions = np.asarray(crystal.atoms.positions, float)
    return positions[second] + images @ np.asarray(crystal.cell, float) - positions[first]


def refuse_contacts(first, second, distances) -> None:
    """`InputError` if two atoms are nearer than any solid has them."""
    if len(distances) and distances.min() < TOO_CLOSE:
        worst = int(distances.argmin())
        raise InputError(
            f"Atoms {first[worst]} and {second[worst]} are {distances[worst]:.2f} Å apart; allowed at least "
            f"{TOO_CLOSE:g} Å; remove one of them, or check the cell and where its seam is."
        )


def angles_of(apex: Int[np.ndarray, " p"]) -> tuple[Int[np.ndarray, " t"], Int[np.ndarray, " t"]]:
    """All pairs of bonds with the same apex, as indices into the sorted list of bonds, each pair once."""
    counts = np.unique(apex, return_counts=True)[1]
    starts = np.cumsum(counts) - counts
    corners = [np.triu_indices(count, 1) for count in counts]
    if not corners:
        return np.zeros(0, int), np.zeros(0, int)
    left = np.concatenate([start + corner[0] for start, corner in zip(starts, corners, strict=True)])
    right = np.concatenate([start + corner[1] for start, corner in zip(starts, corners, strict=True)])
    return left, right


def pair_list(bonds, bond_images, angles, angle_images, atoms: int):
    """All pairs of atoms that the blocks of bonds and angles (in the order of `blocks`) couple, each once."""
    zero = np.zeros_like(bond_images)
    i, j = bonds.T
    blocks = [(i, i, zero), (j, j, zero), (i, j, bond_images), (j, i, -bond_images)]
    apex = np.zeros_like(angle_images[:, :1])
    corners = np.concatenate([apex, angle_images], axis=1)
    for row in range(3):
        for column in range(3):
            blocks.append((angles[:, row], angles[:, column], corners[:, column] - corners[:, row]))
    everyone = np.arange(atoms)
    blocks.append((everyone, everyone, np.zeros((atoms, 3), int)))  # an atom without bonds keeps its row
    table = np.concatenate([np.column_stack([first, second, image]) for first, second, image in blocks])
    unique, slots = np.unique(table, axis=0, return_inverse=True)
    return unique[:, :2], unique[:, 2:], slots.reshape(-1)[: len(table) - atoms]


def assemble(
    topology: Topology, bond_blocks: Float[Array, "b 3 3"], angle_blocks: Float[Array, "t 2 3 2 3"]
) -> Float[Array, "m 3 3"]:
    """The blocks of all pairs from the Hessians of bonds and angles in their vectors: (m, 3, 3).

    A vector is the difference of two positions, so the blocks of each row sum to zero: the acoustic sum rule.
    """
    bonds = [bond_blocks, bond_blocks, -bond_blocks, -bond_blocks]
    ends = jnp.swapaxes(angle_blocks, 2, 3)  # (t, end, end, 3, 3)
    to_apex = -ends.sum(axis=2)  # (t, end, 3, 3)
    from_apex = -ends.sum(axis=1)
    corner = [
        [ends.sum(axis=(1, 2)), from_apex[:, 0], from_apex[:, 1]],
        [to_apex[:, 0], ends[:, 0, 0], ends[:, 0, 1]],
        [to_apex[:, 1], ends[:, 1, 0], ends[:, 1, 1]],
    ]
    parts = jnp.concatenate([*bonds, *(block for row in corner for block in row)])
    return jax.ops.segment_sum(parts, topology.slots, num_segments=len(topology.pairs))
