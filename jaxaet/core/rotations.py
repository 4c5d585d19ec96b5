"""Rotations: THE angle convention of the package (docs/conventions.md).

`R = R_z(phi) R_y(theta) R_x(psi)`, right-handed and active; an atom at `r` in the object frame is seen
at `r' = R^T r`, and the beam travels along -z'.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def rotation_matrix(angles: Float[Array, "*k 3"]) -> Float[Array, "*k 3 3"]:
    """Rotation matrices `R` of Euler angles in the order (Z, Y, X).

    `angles`: (..., 3) in rad. Returns (..., 3, 3). Source: AET paper, table S2.
    """
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    (cz, cy, cx), (sz, sy, sx) = jnp.moveaxis(cos, -1, 0), jnp.moveaxis(sin, -1, 0)
    rows = (
        (cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
        (sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
        (-sy, cy * sx, cy * cx),
    )
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def euler_angles(matrix: Float[Array, "*k 3 3"]) -> Float[Array, "*k 3"]:
    """Angles (Z, Y, X) in rad of rotation matrices: the inverse of `rotation_matrix` for |theta| < pi/2."""
    phi = jnp.arctan2(matrix[..., 1, 0], matrix[..., 0, 0])
    theta = jnp.arctan2(-matrix[..., 2, 0], jnp.hypot(matrix[..., 0, 0], matrix[..., 1, 0]))
    psi = jnp.arctan2(matrix[..., 2, 1], matrix[..., 2, 2])
    return jnp.stack([phi, theta, psi], axis=-1)


def project(positions: Float[Array, "n 3"], angles: Float[Array, "k 3"]) -> Float[Array, "k n 2"]:
    """Projected coordinates (x', y') in Å of every atom in every view: the first two rows of `R^T r`.

    `positions`: (n, 3) in Å; `angles`: (k, 3) in rad.
    """
    return jnp.einsum("kab,na->knb", rotation_matrix(angles)[..., :2], positions)


def rigid_alignment(
    moving: Float[Array, "n 3"], fixed: Float[Array, "n 3"]
) -> tuple[Float[Array, "3 3"], Float[Array, "3"]]:
    """Proper rotation `Q` and translation `t` that minimise |moving Q^T + t - fixed| (Kabsch 1976).

    Both point sets: (n, 3) in Å, paired row by row.
    """
    centre_moving, centre_fixed = (points.mean(axis=0, keepdims=True) for points in (moving, fixed))
    u, _, vt = jnp.linalg.svd((fixed - centre_fixed).T @ (moving - centre_moving))
    hand = jnp.sign(jnp.linalg.det(u @ vt))
    rotation = (u * jnp.array([[1.0, 1.0, hand]])) @ vt
    return rotation, (centre_fixed - centre_moving @ rotation.T)[0]
