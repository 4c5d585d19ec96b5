"""The AET paper's experiment as the microscope records it: raw frames by multislice, and the truth apart from them."""

import time
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxaet.core import Frames, Grid, Images, rotation_matrix
from jaxaet.forward import Blurred, FrozenPhonons, Multislice, contamination, drift_path, raw_frames
from jaxaet.instrument import AnnularDetector, Beam, Microscope, StageVibration, Tilts
from jaxaet.io import save_arrays, save_atoms
from jaxaet.recipes.cache import fingerprint, load_array, store_array, user_cache
from jaxaet.recipes.config import SimulationConfig
from jaxaet.recipes.config_file import dump_config
from jaxaet.recipes.run_folder import RunFolder
from jaxaet.specimen import Atoms, paper_heterojunction
from jaxaet.viz import save_figure, tilt_series_figure, write_report

SECONDS_PER_UNIT = 8e-9  # of a probe, a slice and a pixel of its wave, on two CPU cores
SECONDS_PER_PIXEL = 1e-6  # of a frame, to count and to write it
SHOWN_PIXELS = 320


def run(config: SimulationConfig, folder: RunFolder) -> dict:
    """Make the images, record their frames, and write raw.h5, the folder truth/, figures and the report."""
    specimen_key, rest = jax.random.split(jax.random.key(config.seed))
    motion_key, dirt_key, drift_key, noise_key = jax.random.split(rest, 4)
    atoms, seen = paper_heterojunction(specimen_key, config.specimen.interface), microscope(config)
    rendered = render(config, folder, atoms, seen, motion_key)
    options, dirt = config.frames, config.background
    images = len(seen.tilts.angles)
    signal = jnp.stack([image["image"] for image in rendered]) * config.instrument.dose_e_per_a2 / images
    background = contamination(seen.grid, images, dirt.contamination_counts, dirt.correlation_a, dirt_key)
    background = background + config.instrument.background_counts
    drift = (options.drift_a_per_frame, options.line_jitter_a)
    path = drift_path(drift_key, images, options.frames, seen.grid.shape[0], *drift)
    start = time.perf_counter()
    mean = Images(signal + background, Tilts.heterojunction_nominal().angles, seen.grid)
    frames = recorded(eqx.filter_jit(raw_frames)(mean, path, noise_key, options.readout_counts), config)
    folder.log(f"frames: {time.perf_counter() - start:.1f} s")
    metrics = numbers(config, frames, np.asarray(path), rendered)
    write_raw(config, folder, frames)
    write_truth(config, folder, atoms, {"images": signal, "background": background, "drift": path})
    report(config, folder, frames, metrics)
    return metrics


def microscope(config: SimulationConfig) -> Microscope:
    """The microscope of the paper at 1 electron per Å² and without background, over the vibrating sheet."""
    options, tilts = config.instrument, Tilts.heterojunction()
    beam = Beam(1e3 * options.energy_kev, 1e-3 * options.semi_angle_mrad, options.source_size_a)
    detector = AnnularDetector(1e-3 * options.detector_inner_mrad, 1e-3 * options.detector_outer_mrad)
    grid = Grid(options.image_pixels, options.pixel_size_a)
    return Microscope(beam, detector, tilts, grid, vibration=sheet_vibration(config))


def sheet_vibration(config: SimulationConfig) -> StageVibration:
    """What each image sees of a sheet that vibrates along its normal, the z axis of the object.

    The normal is seen along the first two numbers of Rᵀ z, which are those of the last row of R.
    """
    normal = rotation_matrix(Tilts.heterojunction().angles)[:, 2, :2]
    azimuth = jnp.arctan2(normal[:, 1], normal[:, 0])
    amplitude = config.vibration.amplitude_a * jnp.linalg.norm(normal, axis=1)
    return StageVibration(azimuth, amplitude, config.vibration.width_a)


def multislice(config: SimulationConfig, atoms: Atoms, seen: Microscope, key: PRNGKeyArray) -> list[Multislice]:
    """One model for each snapshot of the moving atoms, all of one size; the image is the mean of theirs."""
    options = config.multislice
    still = options.snapshots == 0
    thermal = Blurred() if still else FrozenPhonons.draw(key, len(atoms), options.snapshots)
    model = Multislice.plan(
        atoms,
        seen,
        thermal=thermal,
        stride=options.stride,
        spacing=options.spacing_a,
        margin=options.margin_a,
    )
    if isinstance(thermal, Blurred):
        return [model]
    moved = [FrozenPhonons(thermal.directions[i : i + 1]) for i in range(options.snapshots)]
    return [eqx.tree_at(lambda m: m.thermal, model, one) for one in moved]


def image_cache(config: SimulationConfig) -> Path:
    """The folder of the images that depend on the same settings: neither on the dose nor on any noise."""
    settings = config.model_dump(
        mode="json",
        include={"seed", "precision", "specimen", "instrument", "vibration", "multislice"},
        exclude={"instrument": {"dose_e_per_a2", "background_counts"}},
    )
    return user_cache() / "simulation" / fingerprint(settings)


def image_file(folder: Path, index: int) -> Path:
    """Where the cache keeps one image."""
    return folder / f"image_{index + 1:02d}.npy"


def render(config: SimulationConfig, folder: RunFolder, atoms: Atoms, seen: Microscope, key: PRNGKeyArray) -> list:
    """The noise-free images, each a stage of its own: counts at 1 electron per Å², seconds, whether from the cache."""
    models, cache, total = multislice(config, atoms, seen, key), image_cache(config), len(seen.tilts.angles)

    def image(index: int) -> dict:
        start, file = time.perf_counter(), image_file(cache, index)
        data = load_array(file)
        known = data is not None and data.shape == seen.grid.shape
        if not known:
            data = np.zeros(seen.grid.shape, models[0].stride.dtype)
            with folder.progress(len(models), f"image {index + 1} of {total}") as tick:
                for step, model in enumerate(models):
                    data += np.asarray(mean_image(model, atoms, seen.view(index))) / len(models)
                    tick(step + 1)
            store_array(file, data)
        return {"image": data, "seconds": time.perf_counter() - start, "from_cache": known}

    return [folder.stage(f"image_{index + 1}", partial(image, index)) for index in range(total)]


@eqx.filter_jit
def mean_image(model: Multislice, atoms: Atoms, seen: Microscope) -> Float[Array, "ny nx"]:
    """The one image of a microscope, counts."""
    return model(atoms, seen).data[0]


def recorded(frames: Frames, config: SimulationConfig) -> np.ndarray:
    """The counts in the smallest type that holds them: whole numbers if the detector adds no noise of its own."""
    counts = np.asarray(frames.data)
    if config.frames.readout_counts > 0:
        return counts.astype(np.float32)
    return counts.astype(np.uint16 if counts.max() < 2**16 else np.uint32)


def numbers(config: SimulationConfig, frames: np.ndarray, path: np.ndarray, rendered: list) -> dict:
    """The metrics of the run."""
    images, count, total = *frames.shape[:2], config.instrument.dose_e_per_a2
    electrons = frames.sum(axis=(2, 3), dtype=float)
    reach = np.linalg.norm(path[:, -1].mean(axis=1) - path[:, 0].mean(axis=1), axis=1)
    return {
        "images": images,
        "frames_of_each": count,
        "dose_e_per_a2": total,
        "dose_of_a_frame_e_per_a2": total / (images * count),
        "counts_of_a_frame": {"mean": electrons.mean(), "least": electrons.min(), "most": electrons.max()},
        "counts_of_a_pixel_and_frame": frames.mean(dtype=float),
        "drift_from_first_to_last_frame_a": reach.mean(),
        "vibration_seen_a": np.asarray(sheet_vibration(config).amplitude).tolist(),
        "images_from_cache": sum(image["from_cache"] for image in rendered),
        "rendering_seconds": sum(image["seconds"] for image in rendered),
    }


def nominal_deg() -> np.ndarray:
    """What the microscope reports of the tilts, (Z, Y, X) in degrees."""
    return np.rad2deg(np.asarray(Tilts.heterojunction_nominal().angles))


def write_raw(config: SimulationConfig, folder: RunFolder, frames: np.ndarray) -> None:
    """Write raw.h5: what an experimenter would have, and nothing of the truth."""
    options = config.instrument
    with folder.writing("raw.h5") as path:
        save_arrays(
            path,
            {
                "frames": (frames, "electrons", "image, frame, row, column"),
                "angles_deg": (nominal_deg(), "degrees", "image, (Z Y X)"),
            },
            {"pixel_size_a": options.pixel_size_a, "dose_e_per_a2": options.dose_e_per_a2},
        )


def write_truth(config: SimulationConfig, folder: RunFolder, atoms: Atoms, arrays: dict) -> None:
    """Write truth/atoms.extxyz and truth/truth.h5; `arrays`: images, background and drift as they were made."""
    with folder.writing("truth/atoms.extxyz") as path:
        save_atoms(path, atoms, overwrite=True)
    vibration = sheet_vibration(config)
    with folder.writing("truth/truth.h5") as path:
        save_arrays(
            path,
            {
                "angles": (np.rad2deg(np.asarray(Tilts.heterojunction().angles)), "degrees", "image, (Z Y X)"),
                "images": (arrays["images"], "electrons in all frames, noise-free", "image, row, column"),
                "background": (arrays["background"], "electrons in all frames, noise-free", "image, row, column"),
                "drift": (arrays["drift"], "Å", "image, frame, row, (x y)"),
                "vibration_direction": (np.rad2deg(np.asarray(vibration.direction)), "degrees", "image"),
                "vibration_amplitude": (vibration.amplitude, "Å", "image"),
                "vibration_width": (vibration.width, "Å", "image"),
            },
            {"pixel_size_a": config.instrument.pixel_size_a},
        )


def report(config: SimulationConfig, folder: RunFolder, frames: np.ndarray, metrics: dict) -> None:
    """Draw the frames and write report.html; both show only what raw.h5 holds."""
    pixel, listed = config.instrument.pixel_size_a, []
    for name, title, caption, data in (
        ("first_frames", "First frames", "The first frame of each image.", frames[:, 0]),
        ("sums", "Sums", "All frames, added as they are; the middle of each image.", middle(frames).sum(axis=1)),
    ):
        path = folder.path / "figures" / f"{name}.png"
        save_figure(tilt_series_figure(data, None, pixel, nominal_deg()), path)
        listed.append((title, caption, path))
    images, count, rows, columns = frames.shape
    summary = (
        f"{images} images of {count} frames, {rows} × {columns} pixels of {pixel:g} Å, "
        f"{metrics['counts_of_a_pixel_and_frame']:.3g} electrons in a pixel of a frame."
    )
    provenance = {"seed": config.seed, "precision": config.precision, "recipe": config.recipe}
    write_report(
        folder.path / "report.html", f"jaxaet: {config.recipe}", summary, metrics, listed, None,
        dump_config(config), provenance,
    )  # fmt: skip


def middle(frames: np.ndarray) -> np.ndarray:
    """The middle of each image, small enough that a figure shows every pixel."""
    first = [max(size - SHOWN_PIXELS, 0) // 2 for size in frames.shape[2:]]
    return frames[:, :, first[0] :, first[1] :][:, :, :SHOWN_PIXELS, :SHOWN_PIXELS].astype(float)


def plan(config: SimulationConfig) -> dict:
    """Shapes, memory and time of the run; the time was fitted to two CPU cores and is good to a factor of two."""
    key, seen = jax.random.key(config.seed), microscope(config)
    atoms = paper_heterojunction(key, config.specimen.interface)
    models = multislice(config, atoms, seen, key)
    model, images = models[0], len(seen.tilts.angles)
    step = float(model.stride * seen.grid.sampling)
    sides = np.ptp(np.asarray(atoms.positions), axis=0)[:2] + float(model.cell.length)
    lit = np.prod(np.minimum(np.array(model.scan[::-1]), sides / step))
    pixels = images * config.frames.frames * int(np.prod(seen.grid.shape))
    bytes_each = 8 if config.precision == "float64" else 4
    cache = image_cache(config)
    missing = sum(not image_file(cache, index).is_file() for index in range(images))
    waves = missing * len(models) * lit * model.slicing.count * model.cell.pixels**2
    return {
        "images": f"{images} × {seen.grid.shape[0]} × {seen.grid.shape[1]}",
        "frames": f"{config.frames.frames} of each image",
        "atoms": len(atoms),
        "scan_points": f"{model.scan[0]} × {model.scan[1]} every {step:.2g} Å",
        "wave_pixels": f"{model.cell.pixels} × {model.cell.pixels}",
        "slices": model.slicing.count,
        "snapshots": len(models),
        "images_in_cache": images - missing,
        "peak_memory_gb": round((bytes_each / 4 * model.memory() + 4 * bytes_each * pixels) / 1e9 + 0.7, 2),
        "estimated_time_s": round(SECONDS_PER_UNIT * float(waves) + SECONDS_PER_PIXEL * pixels + 5),
    }
