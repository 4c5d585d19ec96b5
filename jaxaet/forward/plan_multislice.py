"""The numbers of a multislice model: what is large enough, on the host, before anything is compiled."""

from typing import get_args

import jax.numpy as jnp
import numpy as np

from jaxaet.core import InputError, rotation_matrix
from jaxaet.forward.cell import Cell
from jaxaet.forward.methods import Direct, Prism
from jaxaet.forward.potential import AtomPlanes, Slabs
from jaxaet.forward.probe import Lens
from jaxaet.forward.scattering import Table
from jaxaet.instrument import Microscope
from jaxaet.specimen import Atoms

_BAND = 0.95  # a wave that has met the detector's rim once does not alias back onto the detector
_SPARE = 1.08  # how far the waves reach beyond the detector
_RIM = 0.35  # 1/Å, by which the cut through its tails widens a probe's spectrum
_NEAR = 4.0  # Å around a block within which atoms set how many planes it takes
_FOCI = 7
_BLURRED = 1.46  # steps per rms width of the source at which a tenth of the highest frequency is left
_ATOM = 2.0  # Å, which the potential of an atom extends along the beam


def planned(
    model, atoms, microscope, prism, thermal, sampling, margin, spacing, slabs, block, stride, foci, table, remat
):
    """The arguments of `Multislice.plan`, checked and turned into a model."""
    beam, grid = microscope.beam, microscope.grid
    factor = 1 if prism is None else int(prism)
    if len(atoms) == 0:
        raise InputError("There are no atoms, which scatter nothing; give at least one.")
    if table not in get_args(Table):
        raise InputError(
            f"There is no table {table!r} of scattering factors; choose one of {', '.join(get_args(Table))}."
        )
    if not np.isfinite(atoms.positions).all():
        raise InputError("Some positions are NaN or infinite; give numbers.")
    if foci is not None and foci < 1:
        raise InputError(f"A focal spread cannot be sampled at {foci} foci; give at least 1.")
    check_numbers(beam, factor, margin, spacing, block, stride)
    sampling = checked_sampling(microscope, sampling)
    step = stride * float(grid.sampling)
    if stride > largest_stride(microscope):
        raise InputError(
            f"A stride of {stride:g} pixels leaves {step:.2g} Å between scan points, which a source of "
            f"{float(beam.source_size):g} Å does not blur; give at most {largest_stride(microscope):.2g}."
        )
    per_block = block * (1 if prism is None else 4)
    length = per_block * step + 2 * factor * margin
    pixels = fast_size(length / sampling, factor)
    cell = Cell(pixels, pixels * sampling, _BAND)
    reach = blur_reach(microscope)
    outside = int(np.ceil(reach / step))
    scan = scan_points(grid.shape, stride, outside)
    points, corner = seen(atoms, microscope), -0.5 * np.array(grid.shape[::-1]) * float(grid.sampling) - reach
    places, extent = census(points, corner, scan, per_block, step, float(cell.length))
    count = max(3, int(np.ceil((extent + (_ATOM if slabs else 0.0)) / spacing)) + 1)
    slicing = Slabs(count, spacing) if slabs else AtomPlanes(count)
    radius = float(beam.semi_angle / beam.wavelength)
    if prism is None:
        lens = Lens(fast_size(2 * (radius + _RIM) * float(cell.length)))
        method = Direct(next(b for b in (16, 8, 4, 2, 1) if per_block**2 % b == 0))
    else:
        window = float(cell.length) / factor
        lens = Lens(fast_size(2 * (radius + _RIM) * window))
        method = Prism(factor, int(np.ceil((radius + 0.5 * _RIM) * window)), 4)
    nodes = foci or (_FOCI if float(beam.focal_spread) > 0 else 1)
    return model(
        cell, slicing, lens, method, thermal, jnp.asarray(float(stride)), grid.shape, scan, outside, per_block,
        int(np.ceil(1.15 * places)) + 4, nodes, table, remat,
    )  # fmt: skip


def scan_points(shape: tuple[int, int], stride: float, outside: int) -> tuple[int, int]:
    """Rows and columns of scan points that cover an image, with so many outside at each border."""
    rows, columns = (int(np.ceil((n - 1) / stride)) + 1 + 2 * outside for n in shape)
    return rows, columns


def check_numbers(beam, factor: int, margin: float, spacing: float, block: int, stride: float) -> None:
    """Raise `InputError` for what cannot be computed."""
    radius = 0.61 * float(beam.wavelength / beam.semi_angle)
    for name, value, least in (
        ("margin", margin, 2 * radius), ("spacing", spacing, 1e-3), ("block", block, 1), ("stride", stride, 1e-3),
        ("prism", factor, 1),
    ):  # fmt: skip
        if not value >= least:
            raise InputError(
                f"The {name} {value:g} of the multislice model is too small for a probe {2 * radius:.2g} Å wide and "
                f"at least one slice and one scan point; give at least {least:.3g}."
            )


def checked_sampling(microscope: Microscope, sampling: float | None) -> float:
    """The sampling of the waves in Å; `InputError` if it cannot hold the detector or the aperture."""
    beam, wavelength = microscope.beam, float(microscope.beam.wavelength)
    # The probe is cut from one computed on a finer raster of angles, whose rim it must hold too.
    reaches = {"detector": float(microscope.detector.outer), "probe": float(beam.semi_angle) + _RIM * wavelength}
    which = max(reaches, key=lambda name: reaches[name])
    widest = reaches[which]
    coarsest = 0.5 * _BAND * wavelength / widest
    if sampling is None:
        return coarsest / _SPARE
    if not 0 < sampling <= coarsest:
        held = 0.5 * _BAND * wavelength / sampling if sampling > 0 else 0.0
        raise InputError(
            f"The {which} reaches {1e3 * widest:.0f} mrad and a sampling of {sampling:g} Å holds {1e3 * held:.0f} "
            f"mrad; use at most {np.floor(1e4 * coarsest) / 1e4:g} Å."
        )
    return float(sampling)


def fast_size(least: float, divisor: int = 1) -> int:
    """The next even multiple of `divisor` whose Fourier transform is fast."""
    size = int(np.ceil(least - 1e-6))
    slow = [p for p in (7, 11) if divisor % p]
    while size % divisor or size % 2 or _largest_prime(size // divisor) > 11 or any(size % p == 0 for p in slow):
        size += 1
    return size


def _largest_prime(number: int) -> int:
    """The largest prime factor, or 1."""
    largest = 1
    for prime in range(2, number + 1):
        while number % prime == 0:
            number, largest = number // prime, prime
    return largest


def largest_stride(microscope: Microscope) -> float:
    """The distance of scan points, in pixels, from which the source no longer blurs what lies between them."""
    beam = microscope.beam
    resolved = float(beam.wavelength / (4 * beam.semi_angle))
    return max(1.0, max(resolved, _BLURRED * float(beam.source_size)) / float(microscope.grid.sampling))


def blur_reach(microscope: Microscope) -> float:
    """How far in Å source and vibration carry a signal."""
    reach = 4 * float(microscope.beam.source_size)
    if microscope.vibration is not None:
        vibration = microscope.vibration
        reach = float(np.hypot(reach, 4 * np.max(vibration.width)) + np.max(np.abs(vibration.amplitude)))
    return reach


def seen(atoms: Atoms, microscope: Microscope) -> np.ndarray:
    """The atoms as each image sees them, (k, n, 3) in Å."""
    turn = np.asarray(rotation_matrix(microscope.tilts.angles), float)
    points = np.einsum("kab,na->knb", turn, np.asarray(atoms.positions, float))
    points[..., :2] += np.asarray(microscope.tilts.shifts, float)[:, None]
    return points


def census(points, corner, scan, block: int, step: float, length: float) -> tuple[int, float]:
    """The most atoms that any cell holds, and the largest height in Å of the atoms near any block."""
    most, extent = 0, 0.0
    rows, columns = (-(-n // block) for n in scan)
    middles = [corner[axis] + (np.arange(n) + 0.5) * block * step for axis, n in ((1, rows), (0, columns))]
    for view in points:
        for y in middles[0]:
            row = view[np.abs(view[:, 1] - y) <= 0.5 * length]
            for x in middles[1]:
                away = np.maximum(np.abs(row[:, 0] - x), np.abs(row[:, 1] - y))
                most = max(most, int((away <= 0.5 * length).sum()))
                near = row[away <= 0.5 * block * step + _NEAR, 2]
                extent = max(extent, float(np.ptp(near))) if len(near) else extent
    return most, extent
