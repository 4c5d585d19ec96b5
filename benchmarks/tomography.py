"""GENFIRE against the same iteration on the whole fine grid, as the public programs do it, and windows in batches.

The rival replaces the measured values in the transform of the padded volume, with pyFFTW on as many threads as there
are cores, in double precision as GENFIRE-Python and in single precision.
"""

import os
import statistics
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from jaxaet.core import Grid, Images
from jaxaet.forward import Linear
from jaxaet.instrument import AnnularDetector, Beam, Microscope, Tilts
from jaxaet.specimen import Atoms, paper_heterojunction
from jaxaet.tomography import Genfire, Windows, scanned
from jaxaet.tomography.genfire import BLOCK

OURS = "jaxaet"
SAMPLING = 0.32  # Å, voxel and pixel


def middle(radius: float) -> Atoms:
    """The atoms of the heterojunction within some Å of its middle."""
    atoms = paper_heterojunction(jax.random.key(0))
    return atoms.select(np.hypot(*np.asarray(atoms.positions)[:, :2].T) < radius)


def series(atoms: Atoms, pixels: int) -> Images:
    """Twelve noise-free images of the atoms."""
    scope = Microscope(
        Beam(60e3, 0.038, 0.7, 3e4), AnnularDetector(0.05, 0.21), Tilts.heterojunction(),
        Grid((pixels, pixels), SAMPLING),
    )  # fmt: skip
    return Linear.plan(atoms, scope)(atoms, scope)


def whole_grid_loop(system, state, dtype):
    """A function that makes one block of iterations on the fine grid, and returns the volume."""
    import pyfftw.interfaces.numpy_fft as fft

    half, full = (system.side, system.side, system.side // 2 + 1), (system.side,) * 3
    real = np.dtype(dtype)
    used = np.asarray(system.used).reshape(half)
    values = np.asarray(state.values).astype(np.result_type(real, np.complex64)).reshape(half)[used]
    place = tuple(np.ix_(*[(np.arange(n) - n // 2) % system.side for n in system.shape]))
    threads = os.cpu_count() or 1

    def block():
        volume = np.zeros(system.shape, real)
        for _ in range(BLOCK):
            padded = np.zeros(full, real)
            padded[place] = volume
            spectrum = fft.rfftn(padded, threads=threads)
            spectrum[used] = values
            volume = np.maximum(fft.irfftn(spectrum, s=full, threads=threads)[place], 0)
        return volume

    return block


def measure(voxels: int, thickness: int, rounds: int) -> dict:
    """Seconds an iteration of each program and the ratios to ours; and of windows in batches of 1 and 4."""
    atoms = middle(0.4 * voxels * SAMPLING)
    images = series(atoms, voxels + 8)
    plain = Genfire(BLOCK, withheld=0.0, accelerated=False)
    system = plain.system(images.angles, images.grid, (voxels, voxels, thickness), SAMPLING)
    start = system.start(images.data, jnp.zeros((len(images.data), 2)))
    runs, missing = {OURS: lambda: system.advance(start).best}, ""
    try:
        runs |= {f"pyFFTW, {kind}": whole_grid_loop(system, start, kind) for kind in ("float64", "float32")}
    except ImportError:
        missing = "pyFFTW is not installed."
    results = {name: np.asarray(action()) for name, action in runs.items()}
    apart = max(float(np.abs(found - results[OURS]).max() / results[OURS].max()) for found in results.values())
    times = timing.interleaved(runs, rounds)
    rows = [
        {
            "program": name,
            "ms_an_iteration": 1e3 * statistics.median(taken) / BLOCK,
            "over_jaxaet": timing.ratio(taken, times[OURS]),
        }
        for name, taken in times.items()
    ]
    extent = (voxels * SAMPLING, voxels * SAMPLING, thickness * SAMPLING)

    step = 2 * (voxels // 8)

    def scan(batch: int):
        return scanned(images, plain, Windows(2 * step, step, batch=batch), extent, SAMPLING).data

    batches = {f"batches of {batch}": partial(scan, batch) for batch in (1, 4)}
    for action in batches.values():
        action()
    taken = {name: statistics.median(seconds) for name, seconds in timing.interleaved(batches, 1).items()}
    ratios = {row["program"]: row["over_jaxaet"] for row in rows if row["program"] == "pyFFTW, float64"}
    targets = [
        {"ratio": f"{name} / jaxaet", "found": ratio, "aim": "≥ 25", "met": ratio >= 25}
        for name, ratio in ratios.items()
    ]
    return {
        "voxels": f"{voxels} × {voxels} × {thickness}", "fine_grid": system.side, "largest_difference": apart,
        "rows": rows, "windows": [{"windows": name, "s": s} for name, s in taken.items()], "targets": targets,
        "missing": missing,
    }  # fmt: skip
