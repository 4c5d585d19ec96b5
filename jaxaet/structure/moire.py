"""How the atoms of one layer lie on those of the next: order parameters of a moiré stack of dichalcogenides."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from jaxaet.core import InputError


class Registry(NamedTuple):
    """The local stacking at some points (n,), Å.

    `metal_on_chalcogen`: u^(W/X), the distance in the plane from the nearest metal of the first layer to the nearest
    chalcogen of the second; `chalcogen_on_metal`: u^(X/W), the other way round. `stacking`: their Euclidean norm.
    """

    metal_on_chalcogen: Float[np.ndarray, " n"]
    chalcogen_on_metal: Float[np.ndarray, " n"]
    stacking: Float[np.ndarray, " n"]


def moire_registry(
    points: Float[np.ndarray, "n 2"],
    first: tuple[Float[np.ndarray, "_ 2"], Float[np.ndarray, "_ 2"]],
    second: tuple[Float[np.ndarray, "_ 2"], Float[np.ndarray, "_ 2"]],
) -> Registry:
    """The order parameters of A. C. Houston et al., Nano Lett. 25, 9277 (2025) at points such as pixels or columns.

    `points`, and `first` and `second`, the metals and chalcogens of each layer: x and y in Å. The norm is 0 where
    metals lie on chalcogens both ways, d where they do one way, and √2 d where they do neither; d is the bond seen from
    above, the lattice constant over √3. The paper calls these AB, AA' and A'B.
    Raises `InputError` where a layer has no metal or no chalcogen.
    """
    for number, layer in enumerate((first, second), 1):
        if not all(len(atoms) for atoms in layer):
            raise InputError(
                f"Layer {number} has {len(layer[0])} metals and {len(layer[1])} chalcogens; a registry needs both."
            )
    near = [[atoms[KDTree(atoms).query(points)[1]] for atoms in layer] for layer in (first, second)]
    (metal, chalcogen), (other_metal, other_chalcogen) = near
    there = np.linalg.norm(metal - other_chalcogen, axis=1)
    back = np.linalg.norm(chalcogen - other_metal, axis=1)
    return Registry(there, back, np.hypot(there, back))


def pixel_centres(shape: tuple[int, int], pixel: float) -> Float[np.ndarray, "n 2"]:
    """Where the pixels of an image are, row after row: x and y in Å from the middle pixel; `pixel`: Å."""
    rows, columns = (pixel * (np.arange(n) - n // 2) for n in shape)
    return np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
