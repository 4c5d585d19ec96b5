"""Functions of Hermitian matrices whose derivatives stay finite where eigenvalues coincide.

d f(A) = V (F ∘ (V† dA V)) V†, F the divided differences of f at the eigenvalues (Daleckii & Krein 1965; Higham,
Functions of Matrices, theorem 3.11): no difference of eigenvalues is ever divided by that a derivative of f does not
replace when it vanishes.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_jvp
def positive_part(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """A symmetric matrix with its negative eigenvalues set to zero."""
    values, vectors = jnp.linalg.eigh(matrix)
    return (vectors * jnp.maximum(values, 0.0)[None, :]) @ vectors.T


@positive_part.defjvp
def _(primals, tangents):
    (matrix,), (tangent,) = primals, tangents
    values, vectors = jnp.linalg.eigh(matrix)
    positive = jnp.maximum(values, 0.0)
    gaps = values[:, None] - values[None, :]
    equal = jnp.abs(gaps) < 1e-9 * (jnp.abs(values).max() + 1e-30)
    slope = jnp.broadcast_to((values > 0).astype(matrix.dtype)[:, None], gaps.shape)
    divided = jnp.where(equal, slope, (positive[:, None] - positive[None, :]) / jnp.where(equal, 1.0, gaps))
    result = (vectors * positive[None, :]) @ vectors.T
    return result, vectors @ (divided * (vectors.T @ tangent @ vectors)) @ vectors.T
