"""What the atoms in a cell do to a wave: phase shifts at a few heights.

An atom is a sum of Gaussians (`gaussian_expansion`), so its blur by thermal motion and its shift by any fraction of a
pixel are exact and have a derivative: the Gaussians are summed as their own Fourier series, which is what the grid can
hold. Along the beam there are two ways. `AtomPlanes` projects each atom onto the nearest of a few planes that follow
the atoms, so an atom that moves takes its plane along. `Slabs` cuts the potential at fixed heights; what of a Gaussian
falls into a slab is a difference of two error functions, so an atom passes smoothly from one to the next.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxaet.forward.cell import Cell
from jaxaet.forward.scattering import Table, gaussian_expansion
from jaxaet.instrument import Beam
from jaxaet.specimen import Atoms


class Gaussians(NamedTuple):
    """n atoms, each a sum of t Gaussians.

    `points`: (n, 3), x and y from the middle of the cell and z against the beam, Å. `weights`: (n, t), the integral of
    the phase shift over the plane, Å² rad. `variances`: (n, t) in Å².
    """

    points: Float[Array, "n 3"]
    weights: Float[Array, "n t"]
    variances: Float[Array, "n t"]

    def take(self, some: Int[Array, " a"]) -> "Gaussians":
        """The atoms of these indices; an index beyond the last is an atom of no weight."""
        pick = lambda leaf, fill: leaf.at[some].get(mode="fill", fill_value=fill)  # noqa: E731
        return Gaussians(pick(self.points, 0.0), pick(self.weights, 0.0), pick(self.variances, 1.0))

    def within(self, distance: Float[Array, ""]) -> Bool[Array, " n"]:
        """Which atoms are at most so far from the middle along x and along y."""
        return jnp.all(jnp.abs(self.points[:, :2]) <= distance, axis=1)


def species_gaussians(atoms: Atoms, beam: Beam, table: Table) -> Gaussians:
    """The atoms as Gaussians whose weights are phase shifts of this beam, at their own positions."""
    weights, exponents = (jnp.asarray(x, atoms.u2.dtype) for x in gaussian_expansion(atoms.species, table))
    variances = exponents[None] / (2 * jnp.pi**2) + atoms.total_u2[:, None]
    return Gaussians(atoms.positions, beam.mass_ratio * beam.wavelength * (atoms.composition @ weights), variances)


class AtomPlanes(eqx.Module):
    """Each atom projected as a whole onto one of `count` planes (static) that lie where the atoms are.

    The atoms nearest to the probes are put in order of height and shared out evenly by their scattering power; each
    share's mean height is a plane. With as many planes as atoms, none is moved. `finer`: how many times finer than the
    waves the phase shifts are sampled, static: near a heavy nucleus exp(i phase) changes faster than any wave.
    """

    count: int = eqx.field(static=True)
    finer: int = eqx.field(static=True, default=2)

    def heights(self, atoms: Gaussians, near: Float[Array, " n"]) -> Float[Array, " m"]:
        """The planes, highest first, Å; `near`: how much each atom matters, from 0 to 1."""
        z = atoms.points[:, 2]
        power = near * jnp.abs(jnp.sum(atoms.weights, axis=1))
        order = jnp.argsort(-jax.lax.stop_gradient(z))
        rank = jnp.cumsum(power[order]) - 0.5 * power[order]
        whole = jnp.maximum(jnp.sum(power), jnp.finfo(power.dtype).tiny)
        share = jnp.clip(jnp.floor(self.count * rank / whole).astype(int), 0, self.count - 1)
        total = jax.ops.segment_sum(power[order], share, self.count)
        mean = jax.ops.segment_sum(power[order] * z[order], share, self.count) / jnp.where(total > 0, total, 1.0)
        # A share without atoms is the plane of the last share before it that has some.
        last = jax.lax.cummax(jnp.where(total > 0, jnp.arange(self.count), 0))
        return mean[jnp.maximum(last, jnp.argmax(total > 0))]

    def phases(self, cell: Cell, atoms: Gaussians, heights: Float[Array, " m"]) -> Float[Array, "m n n"]:
        """The phase shift at each of the planes, rad."""
        rows, columns = _profiles(cell, atoms)
        each = jnp.swapaxes(rows * atoms.weights[..., None], 1, 2) @ columns
        nearest = jnp.argmin(jnp.abs(atoms.points[:, 2][None] - heights[:, None]), axis=0)
        share = jax.nn.one_hot(nearest, self.count, axis=0, dtype=each.dtype)
        return (share @ each.reshape(len(nearest), -1)).reshape(self.count, cell.pixels, cell.pixels)


class Slabs(eqx.Module):
    """The potential cut into `count` slabs (static) of `thickness` Å, each projected onto its middle.

    The first and the last also take what is above and below them. It converges to the potential in three dimensions,
    but slowly: a core that two slabs share is spread over their distance, which for W at 60 keV costs 20 % of its peak
    at 0.8 Å without thermal motion, and thin slabs need waves as finely sampled as the core. `AtomPlanes` is within 2 %
    of the limit. `finer`: as of `AtomPlanes`, static.
    """

    count: int = eqx.field(static=True)
    thickness: Float[Array, ""]
    finer: int = eqx.field(static=True)

    def __init__(self, count: int, thickness, finer: int = 2):
        self.count, self.finer = int(count), int(finer)
        self.thickness = jnp.asarray(thickness, dtype=float)

    def heights(self, atoms: Gaussians, near: Float[Array, " n"]) -> Float[Array, " m"]:
        """The middles of the slabs, highest first, Å: on a fixed lattice that moves with no atom."""
        near = near > 0.5
        highest = jnp.max(atoms.points[:, 2], where=near, initial=-jnp.inf)
        lowest = jnp.min(atoms.points[:, 2], where=near, initial=jnp.inf)
        spare = jnp.floor((self.count - (highest - lowest) / self.thickness) / 2)
        top = jnp.ceil(highest / self.thickness) + jnp.clip(spare, 0, self.count)
        top = jax.lax.stop_gradient(jnp.where(jnp.any(near), top, 0.0))
        return (top - 0.5 - jnp.arange(self.count, dtype=top.dtype)) * self.thickness

    def phases(self, cell: Cell, atoms: Gaussians, heights: Float[Array, " m"]) -> Float[Array, "m n n"]:
        """The phase shift of each slab, rad."""
        rows, columns = (profile.reshape(-1, cell.pixels) for profile in _profiles(cell, atoms))
        edges = heights[:-1] - 0.5 * self.thickness
        width = jnp.sqrt(atoms.variances)[..., None]
        above = jax.scipy.special.ndtr((atoms.points[:, 2, None] - edges[None])[:, None] / width)
        ends = jnp.zeros_like(width)
        shares = atoms.weights[..., None] * jnp.diff(jnp.concatenate([ends, above, ends + 1], axis=-1), axis=-1)
        slabs = jnp.moveaxis(shares, -1, 0).reshape(self.count, 1, -1) * rows.T[None]
        return (slabs.reshape(-1, rows.shape[0]) @ columns).reshape(self.count, cell.pixels, cell.pixels)


def transmissions(
    cell: Cell, slicing: AtomPlanes | Slabs, atoms: Gaussians, heights: Float[Array, " m"], places: int
) -> Array:
    """The factor exp(i phase) by which a wave is multiplied at each height, within the band, (m, n, n) complex.

    Atoms outside the cell are left out. `places`: atoms that are added at once; more take several turns.
    """
    n = len(atoms.points)
    turns = max(1, -(-n // places))
    inside = atoms.within(0.5 * cell.length)
    order = jnp.nonzero(inside, size=turns * places, fill_value=n)[0].reshape(turns, places)

    fine = Cell(cell.pixels * slicing.finer, cell.length)

    def add(some):
        return slicing.phases(fine, atoms.take(some), heights)

    def together(order):
        return jax.lax.scan(lambda phase, some: (phase + add(some), None), jnp.zeros_like(add(order[0])), order)[0]

    phase = jax.lax.cond(jnp.sum(inside) > places, together, lambda order: add(order[0]), order)
    wave = jnp.fft.fft2(jax.lax.complex(jnp.cos(phase), jnp.sin(phase)), norm="forward")
    kept = np.fft.fftfreq(cell.pixels, 1 / cell.pixels).astype(int)
    wave = wave[:, kept[:, None], kept[None]] if slicing.finer > 1 else wave
    return jnp.fft.ifft2(cell.aperture()[None] * wave, norm="forward")


def _profiles(cell: Cell, atoms: Gaussians) -> tuple[Float[Array, "a t n"], Float[Array, "a t n"]]:
    """Each Gaussian along y and along x as a Fourier series of area 1 on the pixels of the cell, 1/Å."""
    order = jnp.arange(1, (cell.pixels + 1) // 2, dtype=atoms.points.dtype)
    k = 2 * jnp.pi * order / cell.length
    heights = (2 / cell.length) * jnp.exp(-0.5 * atoms.variances[..., None] * (k**2)[None, None])
    places = 2 * jnp.pi * order[:, None] * (cell.places() / cell.length)[None]
    cosines, sines = jnp.cos(places).astype(k.dtype), jnp.sin(places).astype(k.dtype)

    def along(axis):
        shift = k[None] * atoms.points[:, axis, None]
        even, odd = heights * jnp.cos(shift)[:, None], heights * jnp.sin(shift)[:, None]
        return 1 / cell.length + even @ cosines + odd @ sines

    return along(1), along(0)
