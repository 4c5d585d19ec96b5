"""Force constants and densities of states against phonopy, their growth with the atoms, and the cost of gradients."""

import statistics
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from benchmarks.linear import Disagreement
from jaxaet.io import displaced_constants, to_phonopy
from jaxaet.phonons import (
    StillingerWeber,
    find_modes,
    force_constants,
    forces,
    half_mesh,
    projected_density,
    random_signs,
    sampled_density,
    total_density,
)
from jaxaet.specimen import Crystal, rectangular_cell

OURS, THEIRS = "jaxaet", "phonopy, finite displacements"
CONSTANTS, BOTH = "force constants", "force constants and density on a mesh"
AGREEMENT = 1e-3  # largest difference of densities, relative to the largest value
MESH, WIDTH, ORDER, PROBES = (2, 6), 1.0, 400, 4  # wave vectors, meV, and of the sampled density
MEV = 4.135667696  # of a THz
ENERGY = StillingerWeber()
GRID = jnp.arange(0.0, 70.0, 0.25)


def cell(rows: int, columns: int) -> Crystal:
    """MoS2 with 3 × rows × columns atoms, none where it would be in a perfect crystal."""
    crystal = rectangular_cell("MoS2", rows, columns)
    noise = 0.02 * np.random.default_rng(0).normal(size=crystal.atoms.positions.shape)
    return crystal.moved(crystal.atoms.positions + noise)


def ours(crystal: Crystal) -> dict[str, Callable]:
    """Both tasks by exact derivatives, the list of bonds included."""

    def constants():
        return force_constants(ENERGY, crystal, ENERGY.topology(crystal))

    q = jnp.asarray(half_mesh((*MESH, 1)))
    return {CONSTANTS: constants, BOTH: lambda: total_density(constants(), crystal, q, GRID, WIDTH)}


def theirs(crystal: Crystal) -> dict[str, Callable]:
    """Both tasks by phonopy, with the same potential's forces, compiled."""
    topology = ENERGY.topology(crystal)
    pull = jax.jit(lambda one: forces(ENERGY, one, topology))

    def constants():
        return displaced_constants(crystal, pull, distance=0.001)

    def density():
        run = to_phonopy(crystal, (1, 1, 1), constants())
        run.run_mesh([*MESH, 1])
        step = float(GRID[1] - GRID[0]) / MEV
        run.run_total_dos(
            sigma=WIDTH / MEV, freq_min=0.0, freq_max=step * (len(GRID) - 0.5), freq_pitch=step,
            use_tetrahedron_method=False,
        )  # fmt: skip
        return run.total_dos.dos[: len(GRID)] / MEV

    return {CONSTANTS: constants, BOTH: density}


def gradients(small: Crystal, large: Crystal) -> dict[str, Callable]:
    """A loss of each kind of density, alone and with its gradient in every coordinate."""
    q, weights = jnp.asarray(half_mesh((*MESH, 1))), jnp.ones((1, len(small)))
    probes = random_signs(jax.random.key(0), len(large), PROBES)
    kinds = {
        "exact": (small, lambda c, f: projected_density(f, c, q, GRID, WIDTH, weights)),
        "sampled": (large, lambda c, f: sampled_density(f, c, GRID, WIDTH, probes, order=ORDER)),
    }
    actions = {}
    for name, (crystal, density) in kinds.items():
        topology = ENERGY.topology(crystal)

        def loss(positions, crystal=crystal, density=density, topology=topology):
            moved = crystal.moved(positions)
            return jnp.sum(density(moved, force_constants(ENERGY, moved, topology)) ** 2)

        for kind, function in (("value", jax.jit(loss)), ("gradient", jax.jit(jax.value_and_grad(loss)))):
            actions[f"{name}, {kind}"] = lambda run=function, at=crystal.atoms.positions: run(at)
    return actions


def measure(sizes: tuple[tuple[int, int], ...], rounds: int) -> dict:
    """Times in ms of both tasks for the first size (rows, columns), of force constants for every size, and ratios."""
    with jax.enable_x64(True):
        crystals = [cell(*size) for size in sizes]
        tasks = {(task, OURS): action for task, action in ours(crystals[0]).items()}
        tasks |= {(task, THEIRS): action for task, action in theirs(crystals[0]).items()}
        difference = agreement(tasks)
        times = timing.interleaved(tasks, rounds)
        growing = {len(crystal): compiled(crystal) for crystal in crystals}
        slopes = gradients(crystals[0], crystals[-1])
        q = jnp.asarray(half_mesh((*MESH, 1)))
        constants = growing[len(crystals[0])]()
        alone = {
            "modes": lambda: find_modes(constants, crystals[0], q),
            "energies": lambda: total_density(constants, crystals[0], q, GRID, WIDTH),
        }
        for action in (*growing.values(), *slopes.values(), *alone.values()):
            jax.block_until_ready(action())  # compiles
        growth = timing.interleaved(growing, 3 * rounds)
        taken = timing.interleaved(slopes | alone, rounds)
    rows = [
        {"task": task, "program": name, "ms": 1e3 * statistics.median(seconds),
         "over_jaxaet": timing.ratio(seconds, times[task, OURS])}
        for (task, name), seconds in times.items()
    ]  # fmt: skip
    sized = [{"atoms": atoms, "force_constants_ms": 1e3 * statistics.median(ts)} for atoms, ts in growth.items()]
    rest = [{"density": name, "ms": 1e3 * statistics.median(seconds)} for name, seconds in taken.items()]
    return {
        "atoms": len(crystals[0]), "largest_difference": difference, "rows": rows, "growth": sized, "densities": rest,
        "targets": targets(rows, sized, taken),
    }  # fmt: skip


def compiled(crystal: Crystal) -> Callable:
    """The force constants of a crystal whose bonds are known."""
    topology = ENERGY.topology(crystal)
    return lambda: force_constants(ENERGY, crystal, topology)


def agreement(tasks: dict[tuple[str, str], Callable]) -> float:
    """How far the densities are apart, relative to the largest. Raises `Disagreement` above `AGREEMENT`."""
    found = {key: action() for key, action in tasks.items()}  # also the warm-up
    exact, other = np.asarray(found[BOTH, OURS]), found[BOTH, THEIRS]
    difference = float(np.abs(exact - other).max() / exact.max())
    if not difference < AGREEMENT:
        raise Disagreement(f"Phonopy's density differs by {difference:.2g} of its maximum, more than {AGREEMENT:g}.")
    return difference


def targets(rows: list[dict], sized: list[dict], taken: dict[str, list[float]]) -> list[dict]:
    """Whether the ratios aimed at are reached."""
    over = {row["task"]: row["over_jaxaet"] for row in rows if row["program"] == THEIRS}
    aims = [(f"phonopy / jaxaet, {task}", value, 10.0, True) for task, value in over.items()]
    first, last = sized[0], sized[-1]
    linear = last["force_constants_ms"] / first["force_constants_ms"] * first["atoms"] / last["atoms"]
    aims.append((f"time per atom, {last['atoms']} / {first['atoms']} atoms", linear, 1.5, False))
    for name in ("exact", "sampled"):
        cost = timing.ratio(taken[f"{name}, gradient"], taken[f"{name}, value"])
        aims.append((f"{name} density, value and gradient / value", cost, 4.0, False))
    return [
        {"ratio": name, "found": value, "aim": f"{'≥' if least else '≤'} {aim:g}", "met": (value >= aim) == least}
        for name, value, aim, least in aims
    ]
