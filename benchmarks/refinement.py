"""Second order against first order: from 20 pm per axis off to the optimum of a heterojunction's Poisson likelihood."""

import statistics
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from benchmarks.problem import microscope, specimen
from jaxaet.forward import Linear, count
from jaxaet.inverse import FirstOrder, GaussNewton, Model, Poisson, Problem, solve

OFF = 0.2  # Å along each axis at the start
LEVELS = (1.0, 0.05)  # pm, rms distance to the optimum
SECOND = "Gauss-Newton"
NAMES = (SECOND, "Adam 0.05", "Adam 0.02", "L-BFGS")


def displaced(pixels: int, half_width: float) -> Problem:
    """Poisson images of the heterojunction, and a start with its atoms displaced; only positions are free."""
    atoms, scope = specimen(half_width), microscope(pixels, offset=2.0)
    forward = Linear.plan(atoms, scope)
    data = count(jax.jit(forward)(atoms, scope), jax.random.key(1))
    moved = atoms.positions + OFF * jax.random.normal(jax.random.key(2), atoms.positions.shape)
    start = eqx.tree_at(lambda a: a.positions, atoms, moved)
    return Problem(forward, Model(start, scope), data, lambda m: (m.atoms.positions,), Poisson())


def optimum(problem: Problem) -> jax.Array:
    """The positions (n, 3), Å, of greatest likelihood: Gauss-Newton beyond its usual tolerance, at last in float64."""
    found = solve(problem, newton())
    problem = eqx.tree_at(lambda p: p.model, problem, found.model)
    with jax.enable_x64(True):
        widen = lambda leaf: leaf.astype(float) if eqx.is_inexact_array(leaf) else leaf  # noqa: E731
        exact = solve(jax.tree.map(widen, problem), newton())
        return jnp.asarray(exact.model.atoms.positions, found.model.atoms.positions.dtype)


@eqx.filter_jit
def _loss(problem: Problem) -> jax.Array:
    return problem.loss(problem.leaves)


def descend(problem: Problem, method, goal: jax.Array, max_steps: int) -> dict:
    """Seconds (the start included) and steps until each of `LEVELS`, and the distance at the end in pm."""
    distance = jax.jit(lambda leaves: 100 * jnp.sqrt(jnp.mean(jnp.sum((leaves[0] - goal) ** 2, axis=1))))
    reached: dict[float, tuple[float, int]] = {}
    off = float(distance(problem.leaves))  # compiles it
    begun = time.perf_counter()
    state = jax.block_until_ready(method.start(problem, _loss(problem)))
    start_seconds = time.perf_counter() - begun
    for step in range(1, max_steps + 1):
        state = method.step(problem, state)
        off = float(distance(state.leaves))
        for level in LEVELS:
            if off < level and level not in reached:
                reached[level] = (time.perf_counter() - begun, step)
        if len(reached) == len(LEVELS) or not off < 1e6:
            break
    return {"start_s": start_seconds, "reached": reached, "final_pm": off}


def methods() -> dict[str, tuple]:
    """Each method with the steps it may take; an Optax method made anew is compiled anew."""
    adam = {f"Adam {rate}": (FirstOrder(optax.adam(rate)), 250) for rate in (0.05, 0.02)}
    return {SECOND: (newton(), 12), **adam, "L-BFGS": (FirstOrder(optax.lbfgs()), 60)}


def newton() -> GaussNewton:
    """Gauss-Newton as it is timed."""
    return GaussNewton(tolerance=1e-3, cg_tolerance=0.01)


def measure(pixels: int, half_width: float, rounds: int, names: tuple[str, ...] = NAMES) -> dict:
    """Times of the methods to each distance, after one warm-up of each that compiles everything."""
    chosen = {name: entry for name, entry in methods().items() if name in names}
    problem = displaced(pixels, half_width)
    goal = optimum(problem)
    begun = time.perf_counter()
    for method, _ in chosen.values():
        descend(problem, method, goal, 1)
    warm_up = time.perf_counter() - begun
    runs: dict[str, list[dict]] = {name: [] for name in chosen}
    for _ in range(rounds):
        for name, (method, steps) in chosen.items():
            runs[name].append(descend(problem, method, goal, steps))
    rows = [{"method": name, **_summary(found)} for name, found in runs.items()]
    return {"atoms": len(problem.model.atoms), "warm_up_s": warm_up, "rows": rows, "targets": targets(rows)}


def _summary(runs: list[dict]) -> dict:
    """Medians over rounds; steps are those of the last round."""
    row = {"start_s": statistics.median(run["start_s"] for run in runs), "final_pm": runs[-1]["final_pm"]}
    for level in LEVELS:
        times = [run["reached"][level][0] for run in runs if level in run["reached"]]
        row[f"s_to_{level:g}_pm"] = statistics.median(times) if len(times) == len(runs) else None
        row[f"steps_to_{level:g}_pm"] = runs[-1]["reached"][level][1] if level in runs[-1]["reached"] else None
    return row


def targets(rows: list[dict]) -> list[dict]:
    """Whether Gauss-Newton is at 0.05 pm before the best first-order method is at 1 pm."""
    rough, fine = (f"s_to_{level:g}_pm" for level in LEVELS)
    second = next(row[fine] for row in rows if row["method"] == SECOND)
    first = min((row[rough] for row in rows if row["method"] != SECOND and row[rough] is not None), default=None)
    name = f"{SECOND} to {LEVELS[1]:g} pm / best first-order method to {LEVELS[0]:g} pm"
    if second is None or first is None:
        return [{"ratio": name, "found": None, "aim": "≤ 1", "met": second is not None}]
    return [{"ratio": name, "found": second / first, "aim": "≤ 1", "met": second <= first}]
