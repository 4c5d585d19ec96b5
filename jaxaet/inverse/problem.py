"""An inverse problem: a forward model, data, and which leaves may move."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxaet.core import Images, InputError
from jaxaet.forward import Forward
from jaxaet.instrument import Microscope, each_image
from jaxaet.inverse.background import Smooth
from jaxaet.inverse.likelihood import Gaussian, Poisson
from jaxaet.specimen import Atoms


class Model(eqx.Module):
    """Everything an image depends on: what is there, `atoms`, and what looks at it, `microscope`."""

    atoms: Atoms
    microscope: Microscope


class Problem(eqx.Module):
    """Find the free leaves of a model that explain the data.

    `forward`: a forward model, (Atoms, Microscope) → Images. `model`: the start, and the value of all that is not
    free. `data`: the measured images. `free`: a function from a model to its free leaves, such as
    `lambda m: (m.atoms.positions, m.microscope.tilts.angles)`. `likelihood`: `Poisson()` or `Gaussian(sigma)`.
    `background`: how smooth what lies under the specimen is. Where it is given, the smooth part of what the model
    leaves of the data is part of every mean, so that the free leaves have to explain the rest alone; a background of
    the model's microscope does not count then. Source: variable projection, Golub & Pereyra,
    SIAM J. Numer. Anal. 10 (1973) 413. Raises `InputError` where data and model disagree about the number or the size
    of images.
    """

    forward: Forward
    model: Model
    data: Images
    free: Callable[[Model], Any] = eqx.field(static=True)
    likelihood: Gaussian | Poisson
    background: Smooth | None = None

    def __check_init__(self):
        shape = (*self.model.microscope.tilts.angles.shape[:1], *self.model.microscope.grid.shape)
        if self.data.data.shape != shape:
            raise InputError(
                f"The data have shape {self.data.data.shape} but the microscope takes images of {shape}; "
                "give the microscope the tilts and the grid of the data."
            )

    @property
    def leaves(self) -> PyTree:
        """The free leaves at the start."""
        return self.free(self.model)

    def with_leaves(self, leaves: PyTree) -> Model:
        """The model with other values of the free leaves, and the background that goes with them."""
        model = eqx.tree_at(self.free, self.model, leaves)
        if self.background is None:
            return model
        return _over(model, self.background(self.data.data - self._seen(model)))

    def mean(self, leaves: PyTree) -> Float[Array, "k ny nx"]:
        """The mean images of the model with these leaves."""
        seen = self._seen(eqx.tree_at(self.free, self.model, leaves))
        return seen if self.background is None else seen + self.background(self.data.data - seen)

    def loss(self, leaves: PyTree) -> Float[Array, ""]:
        """The negative log-likelihood, zero for a perfect fit."""
        return jnp.sum(self.likelihood.loss(self.mean(leaves), self.data.data))

    def pack(self, leaves: PyTree) -> dict[str, Float[Array, "rows p"]]:
        """Free leaves as one matrix for each of "atom", "image" and "global": a row for each item of its kind."""
        rows: dict[str, list[Array]] = {}
        for leaf, kind in zip(jax.tree.leaves(leaves), self._kinds(), strict=True):
            rows.setdefault(kind, []).append(jnp.reshape(leaf, (1 if kind == "global" else leaf.shape[0], -1)))
        # Sorted, because JAX sorts the keys of every dictionary that it rebuilds.
        return {kind: jnp.concatenate(columns, axis=1) for kind, columns in sorted(rows.items())}

    def unpack(self, packed: dict[str, Float[Array, "rows p"]]) -> PyTree:
        """The inverse of `pack`."""
        leaves, tree = jax.tree.flatten(self.leaves)
        used = dict.fromkeys(packed, 0)
        values = []
        for leaf, kind in zip(leaves, self._kinds(), strict=True):
            width = leaf.size // (1 if kind == "global" else leaf.shape[0])
            values.append(packed[kind][:, used[kind] : used[kind] + width].reshape(leaf.shape))
            used[kind] += width
        return jax.tree.unflatten(tree, values)

    def _seen(self, model: Model) -> Float[Array, "k ny nx"]:
        """The images of a model, over nothing if the background is to be found."""
        bare = model if self.background is None else _over(model, None)
        return self.forward(bare.atoms, bare.microscope).data

    def _kinds(self) -> list[str]:
        label = jax.tree.map(lambda _: "global", self.model)
        label = eqx.tree_at(_per_atom, label, ("atom",) * 3)
        images = ("image",) * len(each_image(self.model.microscope))
        return jax.tree.leaves(self.free(eqx.tree_at(lambda m: each_image(m.microscope), label, images)))


def _over(model: Model, background: Float[Array, "k ny nx"] | None) -> Model:
    return eqx.tree_at(lambda m: m.microscope.background, model, background, is_leaf=lambda leaf: leaf is None)


def _per_atom(model: Model):
    return model.atoms.positions, model.atoms.composition, model.atoms.u2
