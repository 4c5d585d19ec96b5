"""What a run will need, before it runs."""

import numpy as np

from jaxaet.inverse import LARGEST
from jaxaet.recipes.config import Config


def estimate(
    images: int, shape: tuple[int, int], sampling: float, atoms: int, thickness: float, config: Config
) -> dict:
    """Shapes, peak memory and time for so many images and atoms.

    `sampling`: Å; `thickness`: Å along the beam. The memory counts the largest arrays that are alive together; the
    time was fitted to runs on two CPU cores and is good to a factor of two.
    """
    bytes_each = 8 if config.precision == "float64" else 4
    voxels = [int(np.ceil(n * sampling / config.reconstruction.voxel_a)) for n in (shape[1], shape[0])]
    voxels.append(int(np.ceil(thickness / config.reconstruction.voxel_a)))
    parameters = min(4 * atoms + 7 * images, LARGEST)
    volume = 8 * 6 * np.prod(voxels) * bytes_each
    normal = parameters**2 * (2 * bytes_each + (16 if config.error_bars else 0))
    stack = 12 * images * shape[0] * shape[1] * bytes_each
    seconds = (
        config.tracing.rounds * (20 + 2e-4 * atoms * images) + 3e-7 * np.prod(voxels) * config.reconstruction.iterations
    )
    return {
        "images": f"{images} × {shape[0]} × {shape[1]}",
        "volume_voxels": " × ".join(str(n) for n in voxels),
        "expected_atoms": atoms,
        "peak_memory_gb": round(float(max(volume, normal) + stack) / 1e9 + 0.7, 2),
        "estimated_time_s": round(float(seconds)),
    }
