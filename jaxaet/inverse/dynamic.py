"""Refinement with a forward model too dear for ordinary fits, such as multislice: four ways behind one verb.

`DefectCorrection` computes the dear images once a round, adds what they differ from the linear ones as a constant, and
refits the linear model: where it stops, the dear images explain the data. `TrueGradients` follows the derivative of the
dear model itself, window by window, and `JointGradients` for all atoms together. `GridScan` tries positions on a grid
and keeps the best, as the AET paper does for 19 atoms (supplement, "Dynamic refinement of the S atoms near the W
atoms").
"""

from collections.abc import Callable, Sequence
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxaet.core import Images, InputError, known
from jaxaet.forward import Linear
from jaxaet.inverse.gauss_newton import GaussNewton
from jaxaet.inverse.likelihood import Gaussian
from jaxaet.inverse.problem import Model, Problem
from jaxaet.inverse.rfactors import r1_factor, r_factor
from jaxaet.inverse.simulator import Simulator
from jaxaet.inverse.solve import Solution, solve
from jaxaet.inverse.window import Window, windowed
from jaxaet.specimen import Atoms

OnStep = Callable[[int, float], None]


class DefectCorrection(eqx.Module):
    """Rounds of: simulate, add the difference from the linear model to it, refit the linear model.

    `rounds`: static; each costs one series of dear images. `solver`: of the linear fits.
    """

    rounds: int = eqx.field(static=True)
    solver: GaussNewton

    def __init__(self, rounds: int = 4, solver: GaussNewton | None = None):
        self.rounds = int(rounds)
        self.solver = GaussNewton(max_steps=6) if solver is None else solver

    def __check_init__(self):
        _at_least_once(self.rounds, "rounds")

    def refine(self, problem: Problem, dear: Simulator, on_step: OnStep | None) -> Model:
        """The refined model; `dear`: its images."""
        model = problem.model
        for number in range(self.rounds):
            images = dear.images(model)
            surrogate = mimicked(model, images)
            linear = Linear.plan(model.atoms, model.microscope)
            cheap = _see(linear, surrogate)
            corrected = eqx.tree_at(lambda f: f.correction, linear, images - cheap, is_leaf=lambda x: x is None)
            fit = Problem(corrected, surrogate, problem.data, problem.free, problem.likelihood)
            solution = solve(fit, self.solver)
            model = eqx.tree_at(problem.free, model, problem.free(solution.model))
            if on_step is not None:
                on_step(number + 1, float(solution.losses[-1]))
        return model


class TrueGradients(eqx.Module):
    """Steps along the derivative of the dear model, in windows around atoms, scaled by the curvature where it began.

    `steps`: for each window, static. `pixels`: of a window along each side, static. `atoms`: indices of the atoms to
    refine, (a,), static; all by default.
    """

    steps: int = eqx.field(static=True)
    pixels: int = eqx.field(static=True)
    atoms: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, steps: int = 4, pixels: int = 16, atoms: Sequence[int] | None = None):
        self.steps, self.pixels = int(steps), int(pixels)
        self.atoms = None if atoms is None else tuple(int(i) for i in atoms)

    def __check_init__(self):
        _at_least_once(self.steps, "steps")

    def refine(self, problem: Problem, dear: Simulator, on_step: OnStep | None) -> Model:
        """The refined model; only positions move."""
        model = problem.model
        for number, atom in enumerate(_chosen(self.atoms, model.atoms)):
            window = windowed(problem, model, atom, self.pixels)
            found = dear.stage(f"gradient_{atom}", partial(self._found, window))
            model = _moved(model, atom, jnp.asarray(found["place"]))
            if on_step is not None:
                on_step(number + 1, float(found["loss"]))
        return model

    def _found(self, window: Window) -> dict:
        place, loss = _descend(window, self.steps)
        return {"place": np.asarray(place), "loss": np.asarray(loss)}


class JointGradients(eqx.Module):
    """Gauss-Newton for all atoms together with the derivative of the dear model itself.

    The brightness of atoms behind each other tells of their distance, of which the linear model knows nothing. So this
    is as precise as the data allow where `DefectCorrection`, after which it comes, is not. `rounds`: static; each costs
    a series of dear images, and about four more for each atom in another's way. `solver`: of the fits.
    """

    rounds: int = eqx.field(static=True)
    solver: GaussNewton

    def __init__(self, rounds: int = 1, solver: GaussNewton | None = None):
        self.rounds = int(rounds)
        self.solver = GaussNewton(max_steps=6) if solver is None else solver

    def __check_init__(self):
        _at_least_once(self.rounds, "rounds")

    def refine(self, problem: Problem, dear: Simulator, on_step: OnStep | None) -> Model:
        """The refined model; besides positions only angles, shifts, scales and offsets move."""
        model = problem.model
        for number in range(self.rounds):
            fit = Problem(dear.linearised(model), model, problem.data, problem.free, problem.likelihood)
            solution = solve(fit, self.solver)
            model = solution.model
            if on_step is not None:
                on_step(number + 1, float(solution.losses[-1]))
        return model


class GridScan(eqx.Module):
    """Every position of a grid around each chosen atom is simulated, and the one with the smallest R1 is kept.

    `atoms`: indices, static. `pixels`: of the window that is compared, static. `reach`, `step`: (3,), half width and
    spacing of the grid along x, y, z, Å; the paper's are 0.4, 0.4, 1.2 and 0.2, 0.2, 0.3.
    """

    atoms: tuple[int, ...] | None = eqx.field(static=True)
    pixels: int = eqx.field(static=True)
    reach: Float[Array, "3"]
    step: Float[Array, "3"]

    def __init__(
        self, atoms: Sequence[int] | None = None, pixels: int = 60, reach=(0.4, 0.4, 1.2), step=(0.2, 0.2, 0.3)
    ):
        self.atoms = None if atoms is None else tuple(int(i) for i in atoms)
        self.pixels = int(pixels)
        self.reach, self.step = (jnp.asarray(x, dtype=float) for x in (reach, step))

    def __check_init__(self):
        if known(~(self.step > 0)) or known(~(self.reach >= 0)):
            raise InputError("A grid needs a positive step and no negative reach along x, y and z; correct them.")

    def refine(self, problem: Problem, dear: Simulator, on_step: OnStep | None) -> Model:
        """The refined model; only positions move."""
        model, offsets = problem.model, self.offsets()
        for number, atom in enumerate(_chosen(self.atoms, model.atoms)):
            window = windowed(problem, model, atom, self.pixels)
            scan = partial(self._scan, window, number * len(offsets), on_step)
            best = np.argmin(dear.stage(f"grid_{atom}", scan)["r1"])
            model = _moved(model, atom, model.atoms.positions[atom] + jnp.asarray(offsets[best]))
        return model

    def _scan(self, window: Window, done: int, on_step: OnStep | None) -> dict:
        tried = []
        for number, offset in enumerate(self.offsets()):
            tried.append(float(_misfit(window, jnp.asarray(offset, window.place.dtype))))
            if on_step is not None:
                on_step(done + number + 1, min(tried))
        return {"r1": np.asarray(tried)}

    def offsets(self) -> Float[np.ndarray, "m 3"]:
        """The positions to try, in Å from where the atom is, the nearest first."""
        axes = [
            step * np.arange(-round(reach / step), round(reach / step) + 1)
            for reach, step in zip(np.asarray(self.reach), np.asarray(self.step), strict=True)
        ]
        offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        return offsets[np.argsort(np.sum(offsets**2, axis=1), kind="stable")]


def refine(
    problem: Problem,
    method: DefectCorrection | TrueGradients | JointGradients | GridScan,
    on_step: OnStep | None = None,
    dear: Simulator | None = None,
) -> Solution:
    """Move the atoms until the problem's own, dear forward model explains the data.

    `problem.forward`: such as a `Multislice`, planned for the problem's atoms and images. `on_step(number, loss)` is
    called after each round, or each atom; of `GridScan` after each position, with the least R1. `dear`: makes the
    images of that forward model where the caller keeps them or shows their progress. Raises `InputError` for a `Linear`
    forward.
    """
    if isinstance(problem.forward, Linear):
        raise InputError("The linear model needs no dynamic refinement; give a Multislice forward model, or use solve.")
    dear = Simulator(problem.forward) if dear is None else dear
    losses: list[float] = []

    def note(number: int, loss: float) -> None:
        losses.append(loss)
        if on_step is not None:
            on_step(number, loss)

    model = method.refine(problem, dear, note)
    images = dear.images(model)
    r1, r = r1_factor(problem.data.data, images), r_factor(problem.data.data, images)
    result = f"{type(method).__name__}: R1 of the dear model is {100 * float(r1):.2f} %."
    return Solution(model, images, jnp.asarray(losses), r1, r, result)


def mimicked(model: Model, images: Float[Array, "k ny nx"]) -> Model:
    """The model with the brightness and width of each species with which `Linear` comes nearest to dear images.

    The data are not asked. It makes the linear derivative that of the dear model to first order.
    """
    species = len(model.atoms.species)
    response = jnp.broadcast_to(model.microscope.annular.response, (species,))
    start = eqx.tree_at(lambda m: m.microscope.detector.response, model, response)
    target = Images(images, model.microscope.tilts.angles, model.microscope.grid)
    free = lambda m: (m.microscope.detector.response, m.atoms.species_u2)  # noqa: E731
    linear = Linear.plan(model.atoms, model.microscope)
    problem = Problem(linear, start, target, free, Gaussian(float(jnp.std(images)) / 30))
    return solve(problem, GaussNewton(max_steps=8, tolerance=1e-3)).model


@eqx.filter_jit
def _see(forward, model: Model) -> Float[Array, "k ny nx"]:
    return forward(model.atoms, model.microscope).data


def _at_least_once(number: int, name: str) -> None:
    if number < 1:
        raise InputError(f"{number} {name} refine nothing; give at least 1.")


def _chosen(atoms: tuple[int, ...] | None, specimen: Atoms) -> Sequence[int]:
    chosen = range(len(specimen)) if atoms is None else atoms
    if any(not 0 <= atom < len(specimen) for atom in chosen):
        raise InputError(f"Atoms {[a for a in chosen if not 0 <= a < len(specimen)]} are not among {len(specimen)}.")
    return chosen


def _moved(model: Model, atom: int, place: Float[Array, "3"]) -> Model:
    positions = model.atoms.positions
    return eqx.tree_at(lambda m: m.atoms.positions, model, positions.at[atom].set(place.astype(positions.dtype)))


@eqx.filter_jit
def _descend(window: Window, steps: int) -> tuple[Float[Array, "3"], Float[Array, ""]]:
    """The best place of the window's atom over some damped steps, and the loss there."""
    slope = jax.value_and_grad(window.loss)

    def step(carry, _):
        offset, best, lowest, inverse = carry
        loss, gradient = slope(offset)
        better = loss < lowest
        best, lowest = jnp.where(better, offset, best), jnp.minimum(loss, lowest)
        # A step that went up is taken back by half.
        following = jnp.where(better, offset - inverse @ gradient, 0.5 * (offset + best))
        return (following, best, lowest, inverse), loss

    zero = jnp.zeros(3, window.place.dtype)
    start = (zero, zero, jnp.inf, window.inverse_curvature())
    (_, best, lowest, _), _ = jax.lax.scan(step, start, None, length=steps + 1)
    return window.place + best, jnp.asarray(lowest)


@eqx.filter_jit
def _misfit(window: Window, offset: Float[Array, "3"]) -> Float[Array, ""]:
    return window.misfit(offset)
