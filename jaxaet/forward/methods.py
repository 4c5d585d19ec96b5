"""Two ways to send many probes through one specimen: one by one, and as sums of the same plane waves."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxaet.forward.cell import Cell
from jaxaet.forward.probe import Lens, probes, sensitivity
from jaxaet.instrument import AnnularDetector, Beam, SegmentedDetector

_WAVES = 32  # plane waves that travel together


def through(cell: Cell, beam: Beam, waves: Array, slices: Array, heights: Float[Array, " m"]) -> Array:
    """Fourier coefficients (p, n, n) of `waves` behind all `slices`, from the first to the last of the heights."""

    def step(waves, inputs):
        transmission, distance = inputs
        waves = cell.propagator(beam.wavelength, distance)[None] * jnp.fft.fft2(transmission[None] * waves)
        return jnp.fft.ifft2(waves), None

    waves = jax.lax.scan(step, waves, (slices[:-1], -jnp.diff(heights)))[0]
    return cell.aperture()[None] * jnp.fft.fft2(slices[-1:] * waves)


class Direct(eqx.Module):
    """Every probe is propagated through every slice: exact multislice.

    `batch`: probes that travel together, static; a divisor of the probes of a block.
    """

    batch: int = eqx.field(static=True, default=16)

    def waves(self, block: int) -> int:
        """How many waves are in memory at once."""
        return self.batch

    def window(self, cell: Cell) -> Cell:
        """The part of the cell that one probe fills: all of it."""
        return cell

    def detected(
        self,
        cell: Cell,
        beam: Beam,
        lens: Lens,
        detector: AnnularDetector | SegmentedDetector,
        slices: Array,
        heights: Float[Array, " m"],
        positions: Float[Array, "p 2"],
        defoci: Float[Array, " f"],
    ) -> Float[Array, "f p"]:
        """What is detected of each probe for each defocus.

        `slices`: transmissions at `heights` above focus, Å. `positions`: Å from the middle of the cell. `defoci`: added
        to the aberrations, Å.
        """
        counts = sensitivity(cell, beam, detector)

        def focused(defocus):
            amplitudes = lens.wave(cell, beam, heights[0], defocus)

            def together(positions):
                wave = through(cell, beam, probes(cell, amplitudes, positions), slices, heights)
                return jnp.einsum("pyx,yx->p", wave.real**2 + wave.imag**2, counts)

            return jax.lax.map(together, positions.reshape(-1, self.batch, 2)).reshape(-1)

        return jax.lax.map(focused, defoci)


class Prism(eqx.Module):
    """Every `factor`-th plane wave of the probe is propagated once, and all probes are sums of what comes out.

    Each probe is cut out of a window of 1/`factor` of the cell's length. `factor` 1 is exact. `radius`: plane waves
    from the optical axis to the rim of the aperture, static. `groups`: windows along each side of a block, static; the
    probes of a group share one. Source: Ophus, Adv. Struct. Chem. Imaging 3 (2017) 13.
    """

    factor: int = eqx.field(static=True)
    radius: int = eqx.field(static=True)
    groups: int = eqx.field(static=True)

    @property
    def batch(self) -> int:
        """Plane waves that travel together."""
        return _WAVES

    def waves(self, block: int) -> int:
        """How many waves are in memory at once."""
        return int(np.pi * self.radius**2) + 2 * _WAVES

    def window(self, cell: Cell) -> Cell:
        """The part of the cell that one probe fills."""
        return Cell(cell.pixels // self.factor, cell.length / self.factor, cell.band)

    def detected(
        self,
        cell: Cell,
        beam: Beam,
        lens: Lens,
        detector: AnnularDetector | SegmentedDetector,
        slices: Array,
        heights: Float[Array, " m"],
        positions: Float[Array, "p 2"],
        defoci: Float[Array, " f"],
    ) -> Float[Array, "f p"]:
        """What is detected of each probe for each defocus; as of `Direct`."""
        window, side = self.window(cell), int(np.sqrt(len(positions)))
        order = np.stack(np.meshgrid(*[np.arange(-self.radius, self.radius + 1)] * 2, indexing="ij"), axis=-1)
        order = order[np.hypot(*np.moveaxis(order, -1, 0)) <= self.radius + 0.5]  # (w, 2): row, column
        behind = self._plane_waves(cell, beam, order, slices, heights)
        counts = sensitivity(window, beam, detector)
        # The groups and the first pixel of the window of each.
        grouped = np.arange(len(positions)).reshape(self.groups, side // self.groups, self.groups, -1)
        grouped = grouped.swapaxes(1, 2).reshape(self.groups**2, -1)
        places = jnp.asarray(positions)[grouped]
        middle = jnp.round(places.mean(axis=1) / cell.length * cell.pixels).astype(int)[:, ::-1]
        corners = cell.pixels // 2 - window.pixels // 2 + middle

        def focused(defocus):
            amplitudes = lens.wave(window, beam, heights[0], defocus)[order[:, 0], order[:, 1]]

            def group(inputs):
                places, corner = inputs
                turn = places @ jnp.asarray(order[:, ::-1].T, places.dtype) * (2 * jnp.pi / window.length)
                sums = amplitudes[None] * jax.lax.complex(jnp.cos(turn), -jnp.sin(turn))
                cut = jax.lax.dynamic_slice(behind, (0, corner[0], corner[1]), (len(order), *(window.pixels,) * 2))
                wave = jnp.fft.fft2(jnp.einsum("pw,wyx->pyx", sums, cut), norm="forward")
                return jnp.einsum("pyx,yx->p", wave.real**2 + wave.imag**2, counts)

            return jax.lax.map(group, (places, corners))

        detected = jax.lax.map(focused, defoci).reshape(len(defoci), -1)
        return detected[:, np.argsort(grouped.ravel())]

    def _plane_waves(self, cell: Cell, beam: Beam, order: np.ndarray, slices: Array, heights) -> Array:
        """Plane waves of unit amplitude behind the specimen on the pixels of the cell, (w, n, n)."""
        batches = -(-len(order) // _WAVES)
        padded = np.concatenate([order, np.zeros((batches * _WAVES - len(order), 2), int)]).reshape(batches, _WAVES, 2)
        places = (np.arange(cell.pixels) - cell.pixels // 2) / cell.pixels * self.factor

        def batch(order):
            phase = 2 * jnp.pi * order[..., None] * jnp.asarray(places, beam.energy.dtype)[None, None]
            rows, columns = jnp.exp(1j * phase[:, 0, :, None]), jnp.exp(1j * phase[:, 1, None])
            return jnp.fft.ifft2(through(cell, beam, rows * columns, slices, heights))

        behind = jax.lax.map(batch, jnp.asarray(padded))
        return behind.reshape(-1, cell.pixels, cell.pixels)[: len(order)]
