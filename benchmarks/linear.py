"""`Linear` against its peers: images, and half the sum of squares with its gradient by positions and tilt angles."""

import statistics
import time
from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import peers, timing
from benchmarks.problem import microscope, specimen
from jaxaet.core import project
from jaxaet.forward import Linear
from jaxaet.forward.linear import gaussians

AGREEMENT = 1e-3  # largest difference allowed, relative to the largest value
FORWARD, GRADIENT = "forward", "value and gradient"
OURS = "jaxaet"


class Disagreement(Exception):
    """Two implementations gave different results, so their times mean nothing."""


def fixed(atoms, scope) -> tuple[np.ndarray, np.ndarray, int]:
    """Weights (n, g), variances (n, g) and the reach in pixels: all that does not move with the atoms."""

    def described(atoms, microscope):
        _, weights, variances = gaussians(atoms, microscope)
        return weights[0, :, 0], variances, Linear().reach(atoms, microscope)

    forward = jax.jit(described)
    weights, variances, reach = forward(atoms, scope)
    return np.asarray(weights), np.asarray(variances), int(np.ceil(reach))


def ours(atoms, scope) -> tuple[dict[str, Callable], dict, np.ndarray]:
    """For each task what runs `Linear`, its compile time (s) and memory (MB), and the images to be fitted."""
    forward = Linear.plan(atoms, scope)
    at = (atoms.positions, scope.tilts.angles)

    def images(positions, angles):
        changed = eqx.tree_at(lambda a: a.positions, atoms, positions)
        return forward(changed, eqx.tree_at(lambda m: m.tilts.angles, scope, angles)).data

    def misfit(positions, angles, data):
        return 0.5 * jnp.sum((images(positions, angles) - data) ** 2)

    actions, facts = {}, {"compile_s": {}, "memory_mb": {}}

    def prepare(task, function, *arguments):
        begun = time.perf_counter()
        compiled = jax.jit(function).lower(*arguments).compile()
        facts["compile_s"][task] = time.perf_counter() - begun
        facts["memory_mb"][task] = {OURS: timing.compiled_peak(compiled)}
        actions[task] = partial(compiled, *arguments)

    prepare(FORWARD, images, *at)
    data = 0.9 * actions[FORWARD]()
    prepare(GRADIENT, jax.value_and_grad(misfit, argnums=(0, 1)), *at, data)
    return actions, facts, np.asarray(data)


def theirs(peer: peers.Peer, atoms, scope, data) -> dict[str, Callable]:
    """The same tasks by a peer, from positions and angles to images, and to the gradient by both."""
    weights, variances, reach = fixed(atoms, scope)
    at = (atoms.positions, scope.tilts.angles)
    # The projection and its derivative are a thousandth of the work: the peers borrow them.
    points_of = jax.jit(lambda positions, angles: scope.grid.pixels(project(positions, angles)))
    back = jax.jit(lambda slope: jax.vjp(points_of, *at)[1](slope))

    def scene():
        return peers.Scene(np.asarray(points_of(*at)), weights, variances, scope.grid.shape, reach)

    def value_and_gradient():
        loss, slope = peer.slope(scene(), data)
        return loss, back(slope)

    return {FORWARD: lambda: peer.draw(scene()), GRADIENT: value_and_gradient}


def implementations() -> tuple[dict[str, peers.Peer], str | None]:
    """The peers by name, and a sentence about one that cannot run here."""
    rivals = {"numpy, tiles": peers.tiled_numpy(), "window loop": peers.window_loop()}
    try:
        rivals["numba, 2 threads"] = peers.threaded_numba()
    except ImportError:
        return rivals, "Numba is not installed, so there is no row for it; install the extra 'dev'."
    return rivals, None


def check(tasks: dict[str, dict[str, Callable]]) -> float:
    """The largest relative difference from `Linear`. Raises `Disagreement` above `AGREEMENT`."""
    worst = 0.0
    for task, implementations in tasks.items():
        expected, *others = (jax.tree.leaves(run()) for run in implementations.values())
        for name, found in zip(list(implementations)[1:], others, strict=True):
            for a, b in zip(expected, found, strict=True):
                difference = float(np.max(np.abs(np.asarray(a) - b)) / np.max(np.abs(a)))
                if not difference < AGREEMENT:
                    raise Disagreement(
                        f"'{name}' differs from jaxaet by {difference:.2g} of the largest value in '{task}', more than "
                        f"{AGREEMENT:g}; make them agree before timing them."
                    )
                worst = max(worst, difference)
    return worst


def measure(pixels: int, half_width: float, rounds: int) -> dict:
    """Times in ms, memory in MB and the ratios to `Linear` for one image size."""
    atoms, scope = specimen(half_width), microscope(pixels, offset=0.0)
    actions, facts, data = ours(atoms, scope)
    memory = facts.pop("memory_mb")
    rivals, missing = implementations()
    tasks = {task: {OURS: action} for task, action in actions.items()}
    for name, peer in rivals.items():
        for task, action in theirs(peer, atoms, scope, data).items():
            tasks[task][name] = action
    difference = check(tasks)  # also the warm-up
    runs = {(task, name): action for task, named in tasks.items() for name, action in named.items()}
    times = timing.interleaved(runs, rounds)
    rows = []
    for (task, name), taken in times.items():
        if name != OURS:
            memory[task][name] = timing.heap_peak(runs[task, name])
        row = {"task": task, "implementation": name, "ms": 1e3 * statistics.median(taken)}
        row["over_jaxaet"] = timing.ratio(taken, times[task, OURS])
        row["over_own_forward"] = timing.ratio(taken, times[FORWARD, name])
        rows.append({**row, "memory_mb": memory[task][name]})
    facts = {"pixels": pixels, "atoms": len(atoms), "largest_difference": difference, **facts, "missing": missing}
    return {**facts, "rows": rows, "targets": targets(rows)}


def targets(rows: list[dict]) -> list[dict]:
    """Whether value and gradient reach the ratios aimed at."""
    found = {row["implementation"]: row for row in rows if row["task"] == GRADIENT}
    aims = [
        (f"{name} / jaxaet", found[name]["over_jaxaet"], least, True)
        for name, least in (("numba, 2 threads", 2.0), ("window loop", 20.0))
        if name in found
    ]
    aims.append(("value and gradient / forward of jaxaet", found[OURS]["over_own_forward"], 3.5, False))
    return [
        {"ratio": name, "found": value, "aim": f"{'≥' if least else '≤'} {aim:g}", "met": (value >= aim) == least}
        for name, value, aim, least in aims
    ]
