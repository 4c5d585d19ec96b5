"""The multislice forward model: scanning transmission images with all scattering included.

The scan is cut into small blocks. Each has a periodic cell of its own, centred on it and only as large as the
waves spread, so the cost of a probe does not grow with the specimen, and blocks that see no atom cost nothing. Source:
Kirkland, Advanced Computing in Electron Microscopy (2010), chapters 6 and 7.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxaet.core import Images, InputError, rotation_matrix
from jaxaet.forward.blur import blurred
from jaxaet.forward.cell import Cell
from jaxaet.forward.methods import Direct, Prism
from jaxaet.forward.plan_multislice import planned, scan_points
from jaxaet.forward.potential import AtomPlanes, Gaussians, Slabs, species_gaussians, transmissions
from jaxaet.forward.probe import Lens, sensitivity
from jaxaet.forward.scattering import Table
from jaxaet.forward.thermal import Blurred, FrozenPhonons, Snapshots
from jaxaet.instrument import Beam, Microscope
from jaxaet.specimen import Atoms

_NEAR = 2.0  # Å around a block within which the slices follow the atoms


class Multislice(eqx.Module):
    """Annular dark-field (or any other integrating detector) STEM by multislice.

    `cell`: the box around each block of the scan. `slicing`: `AtomPlanes` or `Slabs`. `lens`: how the probe is
    sampled. `method`: `Direct()` or `Prism(...)`. `thermal`: `Blurred()`,
    `FrozenPhonons` or `Snapshots`. `shape`: of an image (rows, columns), static. `scan`: scan points (rows, columns),
    static. `margin`: of these, how many lie before the first pixel, static. `stride`: distance of scan points in
    pixels. `block`: scan points along each side of a block, static; its square is how many probes are computed at once.
    `atoms`: places for atoms in a cell, static. `foci`: at which a focal spread is sampled, static. `table`: of
    scattering factors, static. `remat`: whether the backward pass computes each block again instead of keeping its
    waves, static. `plan` chooses them.
    """

    cell: Cell
    slicing: AtomPlanes | Slabs
    lens: Lens
    method: Direct | Prism
    thermal: Blurred | FrozenPhonons | Snapshots
    stride: Float[Array, ""]
    shape: tuple[int, int] = eqx.field(static=True)
    scan: tuple[int, int] = eqx.field(static=True)
    margin: int = eqx.field(static=True)
    block: int = eqx.field(static=True)
    atoms: int = eqx.field(static=True)
    foci: int = eqx.field(static=True)
    table: Table = eqx.field(static=True)
    remat: bool = eqx.field(static=True)

    @classmethod
    def plan(
        cls,
        atoms: Atoms,
        microscope: Microscope,
        *,
        prism: int | None = None,
        thermal: Blurred | FrozenPhonons | Snapshots | None = None,
        sampling: float | None = None,
        margin: float = 4.5,
        spacing: float = 2.0,
        slabs: bool = False,
        block: int = 8,
        stride: float = 1.0,
        foci: int | None = None,
        table: Table = "lobato",
        remat: bool = True,
    ) -> "Multislice":
        """The model for this size of problem, with room for the atoms to move.

        `prism`: interpolation factor, or none for exact multislice. `thermal`: `Blurred()` by default. `sampling`: of
        the waves, Å, by default as coarse as the detector allows. `margin`: from the probes of a block to the edge of
        its cell, Å. `spacing`: typical distance of the planes or, with `slabs`, their thickness, Å. `block`: scan
        points along each side of a block. `stride`: distance of scan points in pixels; above 1 where the source blurs
        more than a pixel. `foci`: points of the focal spread, by default 1 without and 7 with one.
        Raises `InputError` for numbers that cannot hold the probe, the detector or the specimen.
        """
        thermal = Blurred() if thermal is None else thermal
        return planned(
            cls, atoms, microscope, prism, thermal, sampling, margin, spacing, slabs, block, stride, foci, table, remat
        )

    def for_part(self, shape: tuple[int, int], atoms: Int[np.ndarray, " m"]) -> "Multislice":
        """The same model for images of another shape (rows, columns) and some of the atoms."""
        scan = scan_points(shape, float(self.stride), self.margin)
        return Multislice(
            self.cell, self.slicing, self.lens, self.method, self.thermal.take(atoms), self.stride, shape, scan,
            self.margin, self.block, self.atoms, self.foci, self.table, self.remat,
        )  # fmt: skip

    def memory(self, images: int = 1, gradient: bool = False) -> float:
        """About how many bytes a call needs in single precision, or one with its gradient."""
        waves = self.method.waves(self.block) * 8 * self.cell.pixels**2
        slices = self.slicing.count * 8 * self.cell.pixels**2 * 3
        kept = self.slicing.count if gradient else 3
        blocks = 1 if self.remat or not gradient else int(np.prod([-(-n // self.block) for n in self.scan])) * images
        return float(slices + blocks * kept * waves * (self.block**2 / self.method.batch if gradient else 1))

    def __call__(self, atoms: Atoms, microscope: Microscope) -> Images:
        """The mean images: `atoms` seen by `microscope`, (k, ny, nx) counts.

        Raises `InputError` for images of another shape than those it was planned for.
        """
        beam, grid = microscope.beam, microscope.grid
        if grid.shape != self.shape:
            raise InputError(
                f"The multislice model was planned for images of {self.shape[0]} × {self.shape[1]} pixels and these "
                f"have {grid.shape[0]} × {grid.shape[1]}; plan one for this microscope."
            )
        step = self.stride * grid.sampling
        signal = self.signals(atoms, microscope)
        y, x = self._origin(microscope)
        if self.lens.oversampling > 1:
            signal = signal + self._tails(signal, step, beam)
        fraction = blurred(signal, (y, x), step, beam, microscope.vibration, grid)
        counts = beam.dose * grid.sampling**2 * fraction * _response(microscope)
        data = microscope.scale[:, None, None] * counts + microscope.pedestal
        return Images(data, microscope.tilts.angles, grid)

    def signals(self, atoms: Atoms, microscope: Microscope) -> Float[Array, "k my mx"]:
        """The fraction of the beam that is detected at each scan point of each image, before any blur."""
        tilts = microscope.tilts
        still = species_gaussians(atoms, microscope.beam, self.table)
        positions, left = self.thermal.snapshots(atoms.positions, atoms.total_u2)
        moving = still._replace(variances=still.variances + (left - atoms.total_u2)[:, None])
        y, x = self._origin(microscope)

        def view(inputs):
            angles, shift = inputs
            turned = (positions.reshape(-1, 3) @ rotation_matrix(angles)).reshape(positions.shape)
            turned = turned - jnp.concatenate([jnp.stack([x, y]) - shift, jnp.zeros_like(shift[:1])])[None, None]
            return jnp.mean(
                jax.lax.map(lambda points: self._scan(moving._replace(points=points), microscope), turned),
                axis=0,
            )

        return jax.lax.map(view, (tilts.angles, tilts.shifts))

    def _tails(self, signal: Float[Array, "k my mx"], step: Float[Array, ""], beam: Beam) -> Float[Array, "k my mx"]:
        """What the tails of the probe, which the cells leave out, add at each scan point."""
        y, x = (jnp.fft.fftfreq(m, dtype=signal.dtype) * m * step for m in self.scan)
        tail = self.lens.tail(self.method.window(self.cell), beam, y[:, None], x[None])
        kept = 1 - jnp.sum(tail)
        return jnp.fft.ifft2(jnp.fft.fft2(signal) * jnp.fft.fft2(tail)[None]).real / kept

    def _origin(self, microscope: Microscope) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The y and x of the first scan point, Å."""
        first = microscope.grid.pixels(jnp.zeros(2)) + self.margin * self.stride
        return tuple(-microscope.grid.sampling * first[::-1])

    def _scan(self, atoms: Gaussians, microscope: Microscope) -> Float[Array, "my mx"]:
        """The signal at each scan point; atoms are given from the first of them."""
        step = self.stride * microscope.grid.sampling
        rows, columns = (-(-points // self.block) for points in self.scan)
        row, column = jnp.divmod(jnp.arange(rows * columns), columns)
        middle = (jnp.stack([column, row], axis=1) * self.block + 0.5 * (self.block - 1)) * step
        window = self.method.window(self.cell)
        probe = jnp.abs(self.lens.wave(window, microscope.beam, jnp.zeros(()), jnp.zeros(()))) ** 2
        vacuum = jnp.sum(sensitivity(window, microscope.beam, microscope.detector) * probe)
        lit = partial(self._block, microscope=microscope)
        lit = jax.checkpoint(lit) if self.remat else lit

        def block(middle):
            local = atoms._replace(points=atoms.points - jnp.append(middle, 0.0)[None])
            seen = jnp.any(local.within(0.5 * self.cell.length))
            return jax.lax.cond(seen, lit, lambda atoms: jnp.full(self.block**2, vacuum), local)

        signal = jax.lax.map(block, middle).reshape(rows, columns, self.block, self.block)
        return signal.swapaxes(1, 2).reshape(rows * self.block, -1)[: self.scan[0], : self.scan[1]]

    def _block(self, atoms: Gaussians, microscope: Microscope) -> Float[Array, " p"]:
        """The signals of one block of scan points; atoms are given from its middle."""
        step = self.stride * microscope.grid.sampling
        place = (jnp.arange(self.block) - 0.5 * (self.block - 1)) * step
        positions = jnp.stack([jnp.tile(place, self.block), jnp.repeat(place, self.block)], axis=1)
        beside = jnp.maximum(jnp.abs(atoms.points[:, :2]) - 0.5 * self.block * step, 0.0)
        near = jnp.exp(-0.5 * jnp.sum(beside**2, axis=1) / _NEAR**2) * atoms.within(0.5 * self.cell.length)
        heights = self.slicing.heights(atoms, near)
        slices = transmissions(self.cell, self.slicing, atoms, heights, self.atoms)
        nodes, weights = np.polynomial.hermite.hermgauss(self.foci)
        defoci = microscope.beam.focal_spread * jnp.sqrt(2.0) * jnp.asarray(nodes, step.dtype)
        found = self.method.detected(
            self.cell, microscope.beam, self.lens, microscope.detector, slices, heights, positions, defoci
        )
        return jnp.asarray(weights / weights.sum(), step.dtype) @ found


def _response(microscope: Microscope) -> Float[Array, ""]:
    """The detector's counts per electron."""
    response = getattr(microscope.detector, "response", jnp.ones(()))
    if response.ndim:
        raise InputError(
            f"The detector has {response.size} responses, one for each species, but electrons behind a thick specimen "
            "belong to no species; give one number."
        )
    return response
