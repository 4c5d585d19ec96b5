"""Training on images that are drawn as they are needed: every step is a pure function of the state and a key."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Key

from jaxaet.gombnet.simulate import Sheet, Variation, draw


class TrainingState(NamedTuple):
    """All that the next step needs; `average` is the running average of `parameters` and `statistics`."""

    parameters: Any
    statistics: Any
    optimiser: Any
    average: tuple[Any, Any]
    step: Array


class Training(NamedTuple):
    """What stays the same while a network is trained.

    `structure`: the network without its numbers. `loss`: of logits and labels. `optimiser`: of optax. `sheet`,
    `layers`, `variation`, `pixels`, `batch`: of the images that are drawn. `decay`: of the running average a step.
    `mesh`: of one axis, over whose devices the images of a batch are shared.
    """

    structure: nnx.GraphDef
    loss: Callable
    optimiser: optax.GradientTransformation
    sheet: Sheet
    layers: int
    variation: Variation
    pixels: int
    batch: int
    decay: float = 0.999
    mesh: jax.sharding.Mesh | None = None

    def images(self, key: Key[Array, ""], count: int):
        """`count` drawn images and their labels."""
        one = lambda key: draw(key, self.sheet, self.layers, self.variation, self.pixels)[:2]  # noqa: E731
        keys = jax.random.split(key, count)
        if self.mesh is not None:
            spread = jax.sharding.NamedSharding(self.mesh, jax.sharding.PartitionSpec(*self.mesh.axis_names))
            keys = jax.lax.with_sharding_constraint(keys, spread)
        return jax.vmap(one)(keys)

    def step(self, state: TrainingState, key: Key[Array, ""]) -> tuple[TrainingState, Array]:
        """One optimiser step on a batch that `key` and the number of the step decide; the new state and the loss."""
        drawn, dropped = jax.random.split(jax.random.fold_in(key, state.step))
        images, labels = self.images(drawn, self.batch)

        def loss(parameters):
            network = nnx.merge(self.structure, parameters, state.statistics, copy=True)
            value = self.loss(network(images, dropped), labels)
            return value, nnx.state(network, nnx.Not(nnx.Param))

        (value, statistics), slope = jax.value_and_grad(loss, has_aux=True)(state.parameters)
        updates, optimiser = self.optimiser.update(slope, state.optimiser, state.parameters)
        parameters = optax.apply_updates(state.parameters, updates)
        # The first steps would otherwise weigh on the average for long.
        decay = jnp.minimum(self.decay, (1 + state.step) / (10 + state.step))
        mix = lambda old, new: (decay * old + (1 - decay) * new).astype(old.dtype)  # noqa: E731
        average = jax.tree.map(mix, state.average, (parameters, statistics))
        return TrainingState(parameters, statistics, optimiser, average, state.step + 1), value


def begin(network: nnx.Module, optimiser: optax.GradientTransformation) -> tuple[nnx.GraphDef, TrainingState]:
    """The structure of a fresh network and the state before the first step."""
    structure, parameters, statistics = nnx.split(network, nnx.Param, ...)
    average = jax.tree.map(jnp.copy, (parameters, statistics))  # its own buffers, so that a step may reuse the state's
    state = TrainingState(parameters, statistics, optimiser.init(parameters), average, jnp.zeros((), jnp.int32))
    return structure, state


def averaged(structure: nnx.GraphDef, state: TrainingState) -> nnx.Module:
    """The network with the running average of its numbers, which predicts better than the last step's."""
    return nnx.merge(structure, *state.average)
