"""Gomb-Net against the same network in PyTorch, and how fast images are drawn and decoded."""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks import timing
from benchmarks.linear import Disagreement
from jaxaet.gombnet import DiceLoss, GombNet, Variation, decode, draw, graphene_sheet, load_weights, predict

OURS, THEIRS, STEP = "jaxaet", "PyTorch, channels last", "training step"
AGREEMENT = 1e-3  # largest difference of logits, relative to the largest, and of losses
LAYERS, CLASSES, BATCH, DRAWN = 2, 1, 2, 8  # images of a step, and drawn at once
PUBLISHED_DRAWING = 0.125  # s an image: the published generator on two cores of a Xeon


def drawn(key: jax.Array, count: int, pixels: int) -> tuple[jax.Array, jax.Array]:
    """Images of twisted graphene and their labels."""
    one = lambda key: draw(key, graphene_sheet(), LAYERS, Variation(), pixels)[:2]  # noqa: E731
    return jax.vmap(one)(jax.random.split(key, count))


def ours(network: GombNet, shown: dict[str, np.ndarray], images: np.ndarray, labels: np.ndarray) -> dict[str, Callable]:
    """Predictions of what is `shown`, and the loss before a step on one batch, without drawing it."""
    structure, parameters, averages = nnx.split(network, nnx.Param, ...)
    optimiser, loss = optax.adam(1e-3), DiceLoss()

    @jax.jit
    def step(parameters, optimised, images, labels):
        def misfit(parameters):
            trained = nnx.merge(structure, parameters, averages, copy=True)
            return loss(trained(images, jax.random.key(0)), labels)

        value, slope = jax.value_and_grad(misfit)(parameters)
        updates, optimised = optimiser.update(slope, optimised, parameters)
        return value, optax.apply_updates(parameters, updates), optimised

    predicted = jax.jit(lambda images: nnx.merge(structure, parameters, averages, copy=True)(images))
    start, batch = optimiser.init(parameters), (jnp.asarray(images), jnp.asarray(labels))
    tasks: dict[str, Callable] = {name: partial(predicted, jnp.asarray(given)) for name, given in shown.items()}
    return tasks | {STEP: partial(step, parameters, start, *batch)}


def theirs(network: GombNet, filters, shown: dict[str, np.ndarray], images: np.ndarray, labels: np.ndarray) -> dict:
    """The same by PyTorch. Raises `ImportError` without it."""
    from benchmarks import peer_network

    def copy():
        return peer_network.same_as(network, CLASSES, filters)

    tasks: dict[str, Callable] = {name: peer_network.predicting(copy(), given) for name, given in shown.items()}
    return tasks | {STEP: peer_network.training(copy(), images, labels)}


def compared(filters: tuple[int, ...], pixels: int, rounds: int) -> dict:
    """Times of every task by both, in seconds, after their results were found to agree."""
    network = GombNet(LAYERS, CLASSES, jax.random.key(0), filters, dropout=0.0)
    images, labels = (np.asarray(part) for part in drawn(jax.random.key(1), BATCH, pixels))
    one = images[:1]
    shown = {f"prediction, {pixels}²": one, f"prediction, {2 * pixels}²": np.tile(one, (1, 2, 2))}
    tasks = {(task, OURS): run for task, run in ours(network, shown, images, labels).items()}
    missing = difference = None
    try:
        tasks |= {(task, THEIRS): run for task, run in theirs(network, filters, shown, images, labels).items()}
    except ImportError:
        missing = "PyTorch is not installed, so nothing is compared with it (pip install torch)."
    found = {key: run() for key, run in tasks.items()}  # also the warm-up
    if missing is None:
        difference = agreement(found)
    times = timing.interleaved(tasks, rounds)
    rows = [
        {"task": task, "program": name, "s": statistics.median(seconds),
         "over_jaxaet": timing.ratio(seconds, times[task, OURS])}
        for (task, name), seconds in times.items()
    ]  # fmt: skip
    return {
        "pixels": pixels, "filters": list(filters), "missing": missing, "largest_difference": difference, "rows": rows,
    }  # fmt: skip


def agreement(found: dict[tuple[str, str], Any]) -> float:
    """How far results are apart, relative to the largest. Raises `Disagreement` above `AGREEMENT`."""
    worst = 0.0
    for task in {task for task, _ in found}:
        mine, other = found[task, OURS], found[task, THEIRS]
        mine = np.asarray(mine[0] if task == STEP else mine)
        worst = max(worst, float(np.abs(mine - other).max() / np.abs(mine).max()))
    if not worst < AGREEMENT:
        raise Disagreement(f"PyTorch differs from jaxaet by {worst:.2g}, more than {AGREEMENT:g}.")
    return worst


def alone(pixels: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of drawing images, and of decoding the layers of one."""
    network, about = load_weights("graphene")
    drawing = jax.jit(drawn, static_argnums=(1, 2))
    prediction = predict(
        network, np.asarray(drawing(jax.random.key(2), DRAWN, pixels)[0][0]), about["pixel"], about["pixel"], copies=1
    )
    actions = {
        "drawing, an image": lambda: drawing(jax.random.key(3), DRAWN, pixels),
        "decoding, a layer": lambda: decode(prediction, graphene_sheet()),
    }
    return timing.interleaved(actions, rounds)


def measure(filters: tuple[int, ...], pixels: int, rounds: int) -> dict:
    """Both programs side by side, what has no rival, and whether the ratios aimed at are reached."""
    found = compared(filters, pixels, rounds)
    times = alone(pixels, rounds)
    drawing = statistics.median(times["drawing, an image"]) / DRAWN
    decoding = statistics.median(times["decoding, a layer"]) / LAYERS
    found["alone"] = [{"task": "drawing, an image", "s": drawing}, {"task": "decoding, a layer", "s": decoding}]
    over = {row["task"]: 1 / row["over_jaxaet"] for row in found["rows"] if row["program"] == THEIRS}
    aims = [(f"jaxaet / PyTorch, {task}", value, 1.0 if task == STEP else 0.7) for task, value in over.items()]
    aims += [
        ("seconds an image, drawn / published", drawing / PUBLISHED_DRAWING, 0.05),
        ("seconds a layer", decoding, 0.01),
    ]
    found["targets"] = [{"ratio": n, "found": v, "aim": f"≤ {aim:g}", "met": v <= aim} for n, v, aim in aims]
    return found
