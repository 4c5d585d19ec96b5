"""How far the linear model misplaces atoms that scatter dynamically, and what dynamic refinement mends of it."""

import equinox as eqx
import jax
import numpy as np

from jaxaet.core import Images, InputError
from jaxaet.forward import Blurred, FrozenPhonons, Linear, Multislice, count
from jaxaet.instrument import Microscope, Tilts
from jaxaet.inverse import (
    DefectCorrection,
    GaussNewton,
    GridScan,
    JointGradients,
    Linearised,
    Model,
    Poisson,
    Problem,
    Simulator,
    TrueGradients,
    fisher,
    mimicked,
    r1_factor,
    refine,
    solve,
)
from jaxaet.io import save_arrays, save_atoms
from jaxaet.recipes.config import DynamicConfig
from jaxaet.recipes.config_file import dump_config
from jaxaet.recipes.heterojunction import microscope
from jaxaet.recipes.run_folder import RunFolder
from jaxaet.recipes.score import score
from jaxaet.recipes.series import to_arrays, to_model
from jaxaet.recipes.simulation import SECONDS_PER_UNIT
from jaxaet.specimen import Atoms, paper_heterojunction
from jaxaet.viz import error_figure, save_figure, tilt_series_figure, write_report

_JOINT_SERIES = 80  # that the derivative of a sheet costs: some 20 atoms in each other's way, three axes
_GRID_POINTS = 225  # of the paper's scan
_WINDOW_MARGIN = 16  # pixels that the source carries into a window


def run(config: DynamicConfig, folder: RunFolder) -> dict:
    """Simulate the series by multislice, fit it by `Linear` alone, refine it dynamically, and score both."""
    atoms, seen, multislice = prepared(config)
    truth = Model(atoms, seen)
    dear = Simulator(multislice, folder.stage, folder.progress)
    mean = dear.images(truth)
    noise_key = jax.random.key(config.seed + 1)
    data = Images(mean, seen.tilts.angles, seen.grid)
    data = count(data, noise_key) if config.noise else data
    with folder.progress(1, "linear fit"):
        arrays = folder.stage("linear_fit", lambda: to_arrays(linear_fit(truth, data)))
    start = to_model(arrays, seen)
    start = eqx.tree_at(
        lambda m: (m.microscope.detector, m.atoms.species_u2), start, (seen.detector, atoms.species_u2)
    )  # fmt: skip
    metrics = {"atoms": len(atoms), "linear_alone": numbers(start, truth)}
    metrics["linear_alone"]["r1_percent"] = 100 * float(r1_factor(data.data, dear.images(start)))
    problem = Problem(multislice, start, data, free_leaves, Poisson())
    method = chosen_method(config)
    with folder.progress(steps_of(method, atoms), config.refinement.method) as tick:
        solution = refine(problem, method, lambda step, loss: tick(step, loss=loss), dear)
    metrics[config.refinement.method] = numbers(solution.model, truth)
    metrics[config.refinement.method] |= {"r1_percent": 100 * float(solution.r1), "result": solution.result}
    if config.refinement.joint_rounds:
        problem = Problem(multislice, solution.model, data, free_leaves, Poisson())
        solution = refine(problem, JointGradients(config.refinement.joint_rounds), None, dear)
        metrics["joint_gradients"] = numbers(solution.model, truth)
        metrics["joint_gradients"] |= {"r1_percent": 100 * float(solution.r1), "result": solution.result}
    if config.error_bars:
        mimic = mimicked(truth, mean)
        linear = Linear.plan(mimic.atoms, mimic.microscope)
        bars = folder.stage("bound", lambda: {"covariance": bound(linear, mimic, data)})
        metrics["linear_bound"] = against(bars["covariance"], atoms, metrics)
        if config.refinement.joint_rounds:
            forward = dear.linearised(truth)
            bars = folder.stage("multislice_bound", lambda: {"covariance": bound(forward, truth, data)})
            metrics["multislice_bound"] = against(bars["covariance"], atoms, metrics)
    write(config, folder, data, solution, truth, metrics)
    return metrics


def prepared(config: DynamicConfig) -> tuple[Atoms, Microscope, Multislice]:
    """The specimen, the microscope and the multislice model of the configuration."""
    key, motion_key = jax.random.split(jax.random.key(config.seed))
    atoms = paper_heterojunction(key, config.specimen.interface)
    if config.specimen.radius_a is not None:
        atoms = atoms.select(np.hypot(*np.asarray(atoms.positions)[:, :2].T) < config.specimen.radius_a)
    beyond = [atom for atom in config.refinement.atoms or () if atom >= len(atoms)]
    if beyond:
        raise InputError(
            f"refinement.atoms names {beyond}, but the specimen has {len(atoms)}; give indices up to {len(atoms) - 1}."
        )
    seen = microscope(config, Tilts.heterojunction())
    number = config.multislice.snapshots
    thermal = FrozenPhonons.draw(motion_key, len(atoms), number) if number else Blurred()
    model = Multislice.plan(
        atoms,
        seen,
        thermal=thermal,
        stride=config.multislice.stride,
        spacing=config.multislice.spacing_a,
        margin=config.multislice.margin_a,
    )
    return atoms, seen, model


def free_leaves(model: Model) -> tuple:
    """What moves: positions, background, angles and shifts; the brightness of a calibrated instrument does not."""
    microscope = model.microscope
    return model.atoms.positions, microscope.offset, microscope.tilts.angles, microscope.tilts.shifts


def linear_leaves(model: Model) -> tuple:
    """What moves in a fit by the linear model alone: its brightness and width for each species too."""
    return (*free_leaves(model), model.microscope.annular.response, model.atoms.species_u2)


def linear_fit(truth: Model, data: Images) -> Model:
    """The fit by `Linear` alone, started from the truth so that nothing but the model is to blame."""
    start = mimicked(truth, data.data)
    problem = Problem(Linear.plan(truth.atoms, truth.microscope), start, data, linear_leaves, Poisson())
    return solve(problem, GaussNewton(max_steps=10)).model


def chosen_method(config: DynamicConfig) -> DefectCorrection | TrueGradients | GridScan:
    """The method of the configuration."""
    options = config.refinement
    if options.method == "defect_correction":
        return DefectCorrection(options.rounds)
    if options.method == "true_gradients":
        return TrueGradients(options.rounds, options.window_pixels, options.atoms)
    return GridScan(options.atoms, options.window_pixels)


def steps_of(method: DefectCorrection | TrueGradients | GridScan, atoms: Atoms) -> int:
    """How many steps the method reports."""
    if isinstance(method, DefectCorrection):
        return method.rounds
    moved = len(atoms) if method.atoms is None else len(method.atoms)
    return moved * len(method.offsets()) if isinstance(method, GridScan) else moved


def numbers(model: Model, truth: Model) -> dict:
    """Rmsd of each species and the error of the angles."""
    found, *_ = score(model, truth.atoms, np.asarray(truth.microscope.tilts.angles))
    return {name: found[name] for name in ("rmsd_pm", "rmsd_all_pm", "angle_rms_error_deg")}


def bound(forward: Linear | Linearised, model: Model, data: Images) -> np.ndarray:
    """The Cramér-Rao bound at a model, (n, 3, 3) Å²."""
    return fisher(Problem(forward, model, data, free_leaves, Poisson()))


def against(covariance: np.ndarray, atoms: Atoms, metrics: dict) -> dict:
    """A bound for each species in pm, and the rmsd of each fit as a multiple of it."""
    variance = 1e4 * np.trace(covariance, axis1=1, axis2=2)
    bounds = {
        name: float(np.sqrt(variance[atoms.labels == label].mean()))
        for label, name in enumerate(atoms.species)
        if (atoms.labels == label).any()
    }
    fits = {fit: found["rmsd_pm"] for fit, found in metrics.items() if isinstance(found, dict) and "rmsd_pm" in found}
    ratios = {fit: {name: rmsd[name] / bounds[name] for name in bounds} for fit, rmsd in fits.items()}
    return {"cramer_rao_pm": bounds, "rmsd_over_bound": ratios}


def write(config: DynamicConfig, folder: RunFolder, data: Images, solution, truth: Model, metrics: dict) -> None:
    """Write atoms.extxyz, results.h5, the figures and the report."""
    with folder.writing("atoms.extxyz") as path:
        save_atoms(path, solution.model.atoms, overwrite=True)
    measured, fitted = np.asarray(data.data), np.asarray(solution.images)
    with folder.writing("results.h5") as path:
        save_arrays(
            path,
            {
                "images": (measured, "counts", "image, row, column"),
                "model_images": (fitted, "counts", "image, row, column"),
                "true_positions": (np.asarray(truth.atoms.positions), "Å", "atom, (x y z)"),
            },
            {"pixel_size_a": float(data.grid.sampling)},
        )
    _, errors, _ = score(solution.model, truth.atoms, np.asarray(truth.microscope.tilts.angles))
    angles = np.rad2deg(np.asarray(solution.model.microscope.tilts.angles))
    figures = [
        ("Errors", "Error along each axis after dynamic refinement.", error_figure(errors, {})),
        (
            "Images",
            "Data, multislice images and residual.",
            tilt_series_figure(measured, fitted, float(data.grid.sampling), angles),
        ),
    ]
    listed = []
    for title, caption, figure in figures:
        path = folder.path / "figures" / f"{title.lower()}.png"
        save_figure(figure, path)
        listed.append((title, caption, path))
    provenance = {"seed": config.seed, "precision": config.precision, "recipe": config.recipe}
    write_report(
        folder.path / "report.html", f"jaxaet: {config.recipe}", solution.result, metrics, listed, None,
        dump_config(config), provenance,
    )  # fmt: skip


def plan(config: DynamicConfig) -> dict:
    """Shapes, memory and time of the run."""
    atoms, seen, model = prepared(config)
    step = float(model.stride * seen.grid.sampling)
    sides = np.ptp(np.asarray(atoms.positions), axis=0)[:2] + float(model.cell.length)
    probes = len(seen.tilts.angles) * np.prod(np.minimum(np.array(model.scan[::-1]), sides / step))
    snapshots = max(1, config.multislice.snapshots)
    series = probes * snapshots * model.slicing.count * model.cell.pixels**2 * SECONDS_PER_UNIT
    return {
        "atoms": len(atoms),
        "images": f"{len(seen.tilts.angles)} × {seen.grid.shape[0]} × {seen.grid.shape[1]}",
        "wave_pixels": f"{model.cell.pixels} × {model.cell.pixels}",
        "slices": model.slicing.count,
        "peak_memory_gb": round(model.memory() / 1e9 + 1.5, 2),
        "seconds_of_a_series": round(float(series)),
        "estimated_time_s": round(float(series) * series_of(config, len(atoms)) + 60),
    }


def series_of(config: DynamicConfig, atoms: int) -> float:
    """How many series of images the run costs, about: windows as their share of the field."""
    options, grid = config.refinement, config.instrument.image_pixels
    joint = _JOINT_SERIES * (options.joint_rounds + (config.error_bars and options.joint_rounds > 0))
    if options.method == "defect_correction":
        return float(3 + options.rounds + joint)
    share = min(1.0, (options.window_pixels + _WINDOW_MARGIN) ** 2 / (grid[0] * grid[1]))
    each = _GRID_POINTS if options.method == "grid_scan" else 7 + 3 * options.rounds
    return 3.0 + joint + share * each * (atoms if options.atoms is None else len(options.atoms))
