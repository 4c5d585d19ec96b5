"""Losses of layers: which order the layers have does not matter, and the numbers are those of the formulas."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from jax.test_util import check_grads

from jaxaet.gombnet import DiceLoss, GombLoss, PrintedGombLoss, SoftMinimumLoss, best_orders, dice_loss

LOSSES = [GombLoss(1.0), SoftMinimumLoss(), PrintedGombLoss(1.0)]


def case(layers: int, seed: int = 0, batch: int = 2):
    logits, targets = jax.random.split(jax.random.key(seed))
    shape = (batch, layers, 6, 5, 2)
    return jax.random.normal(logits, shape), jax.random.bernoulli(targets, 0.3, shape).astype(float)


def certain(labels):
    """Logits of outputs that are these labels."""
    return 60 * (labels - 0.5)


@eqx.filter_jit
def evaluated(loss, logits, targets):
    return loss(logits, targets)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("layers", [2, 3, 4])
@given(seed=st.integers(0, 1000), turn=st.integers(1, 3))
def test_the_order_of_the_layers_does_not_matter(loss, layers, seed, turn):
    logits, targets = case(layers, seed)
    value = evaluated(loss, logits, targets)
    np.testing.assert_allclose(evaluated(loss, jnp.roll(logits, turn, axis=1), targets), value, rtol=1e-12)
    np.testing.assert_allclose(evaluated(loss, logits, jnp.roll(targets, turn, axis=1)), value, rtol=1e-12)


@pytest.mark.parametrize("loss", [*LOSSES, DiceLoss()], ids=lambda loss: type(loss).__name__)
def test_gradient_by_finite_differences(loss):
    logits, targets = case(2)
    check_grads(jax.jit(lambda logits: loss(logits, targets)), (logits,), order=1, modes=["rev"], rtol=1e-4)


def test_gomb_loss_of_the_published_code():
    """Two layers, written out as the published code has it."""
    logits, targets = case(2, batch=1)
    (o1, o2), (t1, t2) = np.asarray(jax.nn.sigmoid(logits[0])), np.asarray(targets[0])

    def dl(o, t):
        return 1 - (2 * (o * t).sum() + 1e-6) / (2 * o.sum() + t.sum() + 1e-6)

    similar = 1 / (1 + np.exp(-((dl(t1, t2) - dl(o1, o2)) ** 2)))
    orders = 1 / (dl(o1, t2) + dl(o2, t1) + 1e-6) + 1 / (dl(o1, t1) + dl(o2, t2) + 1e-6) + 1e-6
    np.testing.assert_allclose(GombLoss(2.0)(logits, targets), similar / orders, rtol=1e-12)


def test_floors():
    """With alpha = 2 a perfect output has Dice 1/3 a layer; both layers as one output lose more."""
    _, targets = case(2, batch=1)
    union = jnp.broadcast_to(targets.max(axis=1, keepdims=True), targets.shape)
    other = float(dice_loss(targets[0, 0], targets[0, 1], 2.0))
    expected = 0.5 / (1 / (2 / 3) + 1 / (other + float(dice_loss(targets[0, 1], targets[0, 0], 2.0))))
    np.testing.assert_allclose(GombLoss(2.0)(certain(targets), targets), expected, rtol=1e-4)
    assert GombLoss(2.0)(certain(union), targets) > 1.1 * expected
    assert SoftMinimumLoss()(certain(targets), targets) < 1e-6


def test_the_printed_loss_does_not_see_which_image_it_was():
    """Labels of another image that overlap each other as much have no loss; the code's form has one."""
    _, targets = case(2, batch=1)
    elsewhere = jnp.roll(targets, 2, axis=3)
    assert PrintedGombLoss(2.0)(certain(elsewhere), targets) < 1e-9
    assert GombLoss(2.0)(certain(elsewhere), targets) > 1.2 * GombLoss(2.0)(certain(targets), targets)


def test_soft_minimum_becomes_the_minimum():
    logits, targets = case(3)
    each = jnp.stack(
        [
            jnp.mean(dice_loss(jax.nn.sigmoid(logits[:, order]), targets), axis=1)
            + jnp.mean(jax.nn.softplus(logits[:, order]) - logits[:, order] * targets, axis=(1, 2, 3, 4))
            for order in jnp.array([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
        ]
    )
    np.testing.assert_allclose(SoftMinimumLoss(1.0, 1e-5)(logits, targets), each.min(axis=0).mean(), rtol=1e-6)


def test_best_order():
    scores = np.array([[[0.0, 2.0, 0.0], [0.0, 0.0, 3.0], [1.0, 0.0, 0.0]]])
    assert best_orders(scores) == [(2, 0, 1)]
