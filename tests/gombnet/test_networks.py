"""Networks have the published size, keep their weights in a file, and resume exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxaet import InputError
from jaxaet.gombnet import (
    GombNet,
    SoftMinimumLoss,
    Training,
    UNet,
    Variation,
    averaged,
    begin,
    graphene_sheet,
    load_weights,
    parameter_count,
    save_weights,
)

KEY = jax.random.key(0)
SMALL = (4, 8)


def test_published_parameter_counts():
    count = lambda make, *options: parameter_count(nnx.eval_shape(lambda: make(*options)))  # noqa: E731
    assert count(GombNet, 2, 1, KEY) == 2_682_082
    assert count(UNet, 2, 1, KEY) == 1_927_874
    assert count(GombNet, 2, 3, KEY, (32, 64, 128, 256, 512)) == 10_815_334


@pytest.mark.parametrize("make", [GombNet, UNet])
def test_shapes_and_refusals(make):
    network = make(3, 2, KEY, (4, 8, 16))
    assert network(jnp.ones((2, 16, 24))).shape == (2, 3, 16, 24, 2)
    with pytest.raises(InputError, match="multiples of 4"):
        network(jnp.ones((1, 16, 22)))
    with pytest.raises(InputError, match="double"):
        make(2, 1, KEY, (4, 9))


def test_moving_the_image_moves_the_output():
    network = GombNet(2, 1, KEY, SMALL)
    image = jax.random.normal(jax.random.key(1), (1, 48, 48))
    moved = network(jnp.roll(image, 4, axis=2))
    np.testing.assert_allclose(moved[:, :, 16:-16, 20:-12], network(image)[:, :, 16:-16, 16:-16], atol=1e-5)


def small_training():
    optimiser = optax.adam(1e-3)
    structure, state = begin(GombNet(2, 1, KEY, SMALL, dropout=0.2), optimiser)
    training = Training(structure, SoftMinimumLoss(), optimiser, graphene_sheet(), 2, Variation(), 32, 2)
    return training, state


def test_training_learns_resumes_exactly_and_does_not_retrace():
    training, begun = small_training()
    traces = []
    step = jax.jit(lambda state, key: (traces.append(None), training.step(state, key))[1])
    state, losses = begun, []
    for _ in range(30):
        state, loss = step(state, KEY)
        losses.append(float(loss))
        if len(losses) == 20:
            kept = jax.tree.map(np.asarray, jax.tree.leaves(state))
    resumed = jax.tree.unflatten(jax.tree.structure(state), [jnp.asarray(leaf) for leaf in kept])
    for _ in range(10):
        resumed, _ = step(resumed, KEY)
    assert all(bool((a == b).all()) for a, b in zip(jax.tree.leaves(resumed), jax.tree.leaves(state), strict=True))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.02
    assert len(traces) == 1


def test_weights_in_a_file(tmp_path):
    training, state = small_training()
    network = averaged(training.structure, state)
    about = {"layers": 2, "classes": ["C"], "filters": SMALL, "pixel": 0.1, "sheet": "graphene"}
    save_weights(tmp_path / "w.npz", network, about)
    loaded, read = load_weights(tmp_path / "w.npz")
    assert read == about | {"filters": list(SMALL), "error_factor": 2.0}
    image = jax.random.normal(KEY, (1, 32, 32))
    np.testing.assert_allclose(loaded(image), network(image), atol=1e-3)
    np.savez(tmp_path / "x.npz", a=1)
    for wrong in (tmp_path / "x.npz", tmp_path / "absent.npz"):
        with pytest.raises(InputError, match="no weights"):
            load_weights(wrong)
