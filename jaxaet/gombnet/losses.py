"""Losses that do not ask which layer is called which: groupwise and combinatorial."""

from itertools import combinations, permutations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

SMOOTHING = 1e-6


def dice_loss(
    output: Float[Array, "*b ny nx c"], target: Float[Array, "*b ny nx c"], alpha: ArrayLike = 1.0
) -> Float[Array, "*b"]:
    """1 - (2 Σ o t + s) / (alpha Σ o + Σ t + s), with sums over the pixels and classes of one layer.

    `output`: probabilities. `alpha` above 1 punishes false positives; a perfect output then has a loss above 0.
    """
    sums = lambda values: jnp.sum(values, axis=(-3, -2, -1))  # noqa: E731
    ratio = (2 * sums(output * target) + SMOOTHING) / (alpha * sums(output) + sums(target) + SMOOTHING)
    return 1 - jnp.clip(ratio, 0, 1)


class DiceLoss(eqx.Module):
    """Dice's loss with the layers in the order they come in, the mean over them; `alpha`: weight of the outputs, 1."""

    alpha: Float[Array, ""]

    def __init__(self, alpha: ArrayLike = 1.0):
        self.alpha = jnp.asarray(alpha, dtype=float)

    def __call__(self, logits: Float[Array, "b l ny nx c"], targets: Float[Array, "b l ny nx c"]) -> Float[Array, ""]:
        return jnp.mean(dice_loss(jax.nn.sigmoid(logits), targets, self.alpha))


class GombLoss(eqx.Module):
    """The groupwise combinatorial loss of the published code, for any number of layers up to four.

    Each order of the layers has a sum of Dice's losses; their reciprocals are summed, and the reciprocal of that is
    multiplied by sigmoid((D(T1, T2) - D(O1, O2))²), each D(A, B) the mean over the pairs of layers.
    `alpha`: weight of the outputs in Dice's loss, 1; with 2 a perfect output has a loss near 0.24. Source: code of
    Houston et al., Nano Lett. 25 (2025) 9277.
    """

    alpha: Float[Array, ""]

    def __init__(self, alpha: ArrayLike = 2.0):
        self.alpha = jnp.asarray(alpha, dtype=float)

    def __call__(self, logits: Float[Array, "b l ny nx c"], targets: Float[Array, "b l ny nx c"]) -> Float[Array, ""]:
        outputs = jax.nn.sigmoid(logits)
        overlap = _mutual(targets, self.alpha) - _mutual(outputs, self.alpha)
        return jnp.mean(jax.nn.sigmoid(overlap**2) * _reciprocal_sum(outputs, targets, self.alpha))


class PrintedGombLoss(eqx.Module):
    """The loss as equation 1 of the paper prints it; it does not learn to find atoms and is here to show that.

    The square itself stands for its sigmoid, so any outputs that overlap each other as the targets do have no loss,
    and each class chooses its own order. `alpha`: weight of the outputs in Dice's loss, 1. Source: Houston et al.,
    Nano Lett. 25 (2025) 9277, eq. 1.
    """

    alpha: Float[Array, ""]

    def __init__(self, alpha: ArrayLike = 2.0):
        self.alpha = jnp.asarray(alpha, dtype=float)

    def __call__(self, logits: Float[Array, "b l ny nx c"], targets: Float[Array, "b l ny nx c"]) -> Float[Array, ""]:
        outputs = jax.nn.sigmoid(logits)

        def of_class(output, target):
            output, target = output[..., None], target[..., None]
            overlap = _mutual(target, self.alpha) - _mutual(output, self.alpha)
            return overlap**2 * _reciprocal_sum(output, target, self.alpha)

        return jnp.mean(jax.vmap(of_class, in_axes=-1)(outputs, targets))


class SoftMinimumLoss(eqx.Module):
    """Dice's loss plus cross-entropy of the best order of the layers, as a soft minimum over all orders.

    It is 0 for a perfect output. `alpha`: weight of the outputs in Dice's loss, 1. `temperature`: of the soft minimum,
    in units of the loss, 1. `cross_entropy`: weight of the cross-entropy of a pixel, 1.
    """

    alpha: Float[Array, ""]
    temperature: Float[Array, ""]
    cross_entropy: Float[Array, ""]

    def __init__(self, alpha: ArrayLike = 1.0, temperature: ArrayLike = 0.02, cross_entropy: ArrayLike = 1.0):
        self.alpha = jnp.asarray(alpha, dtype=float)
        self.temperature = jnp.asarray(temperature, dtype=float)
        self.cross_entropy = jnp.asarray(cross_entropy, dtype=float)

    def __call__(self, logits: Float[Array, "b l ny nx c"], targets: Float[Array, "b l ny nx c"]) -> Float[Array, ""]:
        pixels = logits[0, 0].size
        entropy = jnp.mean(jax.nn.softplus(logits), axis=(2, 3, 4))[:, :, None] - _products(logits, targets) / pixels
        costs = _dice_matrix(jax.nn.sigmoid(logits), targets, self.alpha) + self.cross_entropy * entropy
        orders = _of_orders(costs) / costs.shape[-1]
        return jnp.mean(-self.temperature * jax.scipy.special.logsumexp(-orders / self.temperature, axis=-1))


def best_orders(scores: Float[np.ndarray, "b l l"]) -> list[tuple[int, ...]]:
    """For each image the order of the outputs with the highest sum of scores[output, target]: output of each target."""
    layers = scores.shape[-1]
    orders = list(permutations(range(layers)))
    sums = [scores[:, order, range(layers)].sum(axis=-1) for order in orders]
    return [orders[best] for best in np.argmax(np.stack(sums), axis=0)]


def _products(first: Float[Array, "b l ny nx c"], second: Float[Array, "b m ny nx c"]) -> Float[Array, "b l m"]:
    return jnp.einsum("blyxc,bmyxc->blm", first, second)


def _dice_matrix(
    outputs: Float[Array, "b l ny nx c"], targets: Float[Array, "b m ny nx c"], alpha: Array
) -> Float[Array, "b l m"]:
    total, wanted = jnp.sum(outputs, axis=(2, 3, 4)), jnp.sum(targets, axis=(2, 3, 4))
    overlap = _products(outputs, targets)
    ratio = (2 * overlap + SMOOTHING) / (alpha * total[:, :, None] + wanted[:, None, :] + SMOOTHING)
    return 1 - jnp.clip(ratio, 0, 1)


def _of_orders(costs: Float[Array, "b l l"]) -> Float[Array, "b p"]:
    """The sum of costs[output, target] for each order."""
    layers = costs.shape[-1]
    orders = jnp.array(list(permutations(range(layers))))
    return jnp.sum(costs[:, jnp.arange(layers)[None, :], orders], axis=-1)


def _reciprocal_sum(outputs: Array, targets: Array, alpha: Array) -> Float[Array, " b"]:
    orders = _of_orders(_dice_matrix(outputs, targets, alpha))
    return 1 / (jnp.sum(1 / (orders + SMOOTHING), axis=-1) + SMOOTHING)


def _mutual(layers: Float[Array, "b l ny nx c"], alpha: Array) -> Float[Array, " b"]:
    """Dice's loss of two different layers with each other, the mean over all pairs; 0 where there is one layer."""
    pairs = combinations(range(layers.shape[1]), 2)
    losses = [dice_loss(layers[:, i], layers[:, j], alpha) for i, j in pairs]
    return jnp.mean(jnp.stack(losses), axis=0) if losses else jnp.zeros(len(layers))
