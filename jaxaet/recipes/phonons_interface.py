"""Phonons of the measured interface: what in them is the interface, and what is strain, noise and bulk."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxaet.core import InputError
from jaxaet.io import load_atoms, load_error_bars, save_arrays, save_atoms
from jaxaet.phonons import (
    Sites,
    bulk_fit,
    enrichment,
    find_modes,
    forces,
    interface_participation,
    interface_weights,
    mesh,
    participation_ratio,
    path,
    spectral_function,
    unfold,
)
from jaxaet.recipes.beyond_bulk import peak_table, residual_peaks, sentence, zones
from jaxaet.recipes.config import PhononsInterfaceConfig
from jaxaet.recipes.config_file import dump_config
from jaxaet.recipes.phonon_figures import drawn
from jaxaet.recipes.results import save_figures
from jaxaet.recipes.run_folder import RunFolder
from jaxaet.recipes.spectra import (
    CORNERS,
    GEOMETRIES,
    LAYERS,
    bands,
    constants_of,
    crystal_of,
    density,
    energies_of,
    moved,
    potential,
    reference,
    sides,
)
from jaxaet.recipes.suspicions import of_draws
from jaxaet.specimen import Atoms, InterfaceCell, interface_cell, paper_heterojunction
from jaxaet.viz import atoms_view, write_report

SIMULATED = "simulated: the paper's heterojunction, every atom displaced by data.sigma_pm"


def run(config: PhononsInterfaceConfig, folder: RunFolder) -> dict:
    """Cut the supercell, find its phonons in three geometries, compare with bulk, and say what is left."""
    atoms, sigma = measured_atoms(config)
    cell = interface_cell(atoms, config.supercell.metals, config.supercell.rows, config.supercell.columns)
    sigma = sigma[cell.source]
    folder.warn(of_draws(config.spectra.samples))
    metrics: dict = {"atoms_from": SIMULATED if config.data.atoms is None else config.data.atoms.name}
    metrics |= {"draws_for_error_bars": config.spectra.samples, "supercell": census(cell, config)}
    found = {name: folder.stage(name, lambda name=name: spectrum(config, name, cell, sigma)) for name in GEOMETRIES}
    for name in GEOMETRIES:
        found[name] |= folder.stage(
            f"bulk_{name}", lambda name=name: controls(config, folder, name, cell, sigma, found)
        )
        found[name] |= folder.stage(f"unfolded_{name}", lambda name=name: unfolded(config, cell, found[name]))
        metrics[name] = numbers(config, found[name])
    metrics["peaks"] = {
        f"{energy:g}_mev": peak_table(config, energy, found) for energy in config.spectra.looked_for_mev
    }
    metrics["result"] = " ".join(sentence(config, energy, found) for energy in config.spectra.looked_for_mev)
    write(config, folder, cell, sigma, found, metrics, folder.stage("bands", lambda: bulk_bands(config, cell, sigma)))
    return metrics


def measured_atoms(config: PhononsInterfaceConfig) -> tuple[Atoms, np.ndarray]:
    """The atoms, vacancies left out, and the standard deviations of their coordinates, (n, 3) in Å."""
    table, file = config.data.sigma_pm, config.data.atoms
    specimen_key, noise_key = jax.random.split(jax.random.key(config.seed))
    atoms = paper_heterojunction(specimen_key) if file is None else load_atoms(file)
    sigma = None if file is None else load_error_bars(file)
    weight = np.asarray(atoms.composition)
    occupied = weight.max(axis=1, initial=0.0) >= 1 - weight.sum(axis=1)  # else vacancy weighs more than any element
    atoms, sigma = atoms.select(occupied), None if sigma is None else sigma[occupied]
    if not len(atoms):
        raise InputError(f"{file} holds no atoms; give a file with the atoms of a sheet.")
    if sigma is None:
        missing = sorted(set(atoms.symbols.tolist()) - set(table))
        if missing:
            bars = "" if file is None else f" and {file} has no error bars"
            raise InputError(f"data.sigma_pm says nothing of {', '.join(missing)}{bars}; add those species.")
        sigma = np.repeat(np.array([[table[s]] for s in atoms.symbols]) / 100 / np.sqrt(3), 3, axis=1)
    if not (sigma > 0).all():
        raise InputError(f"{file} has error bars that are not positive numbers; correct or leave out the column sigma.")
    if file is None:
        noise = sigma * np.asarray(jax.random.normal(noise_key, sigma.shape))
        atoms = Atoms(atoms.positions + noise, atoms.composition, atoms.u2, atoms.species, atoms.species_u2)
    return atoms, sigma


def census(cell: InterfaceCell, config: PhononsInterfaceConfig) -> dict:
    """What the supercell holds, and how well it closes."""
    names, counts = np.unique(cell.crystal.atoms.symbols, return_counts=True)
    energy = potential()
    topology = energy.topology(cell.crystal)
    lengths = np.linalg.norm(np.asarray(topology.bond_vectors(cell.crystal)), axis=1)
    return {
        "atoms": dict(zip(map(str, names), counts.tolist(), strict=True)),
        "vacancies": cell.vacancies,
        "atoms_on_no_site": cell.left_out,
        "size_a": np.diagonal(np.asarray(cell.crystal.cell)).tolist(),
        "shortest_bond_a": float(lengths.min()),
        "largest_row_strain_percent": 100 * float(np.abs(cell.row_strain).max()),
        "closing_gap_a": cell.closing_gap,
    }


def spectrum(config: PhononsInterfaceConfig, geometry: str, cell: InterfaceCell, sigma) -> dict:
    """The crystal in one geometry, its modes' energies, densities and localisation."""
    crystal = moved(config, geometry, cell.crystal, sigma)
    options, energy = config.spectra, potential()
    topology = energy.topology(crystal)
    constants = constants_of(config, crystal)
    modes = find_modes(constants, crystal, jnp.asarray(mesh((*options.mesh, 1))))
    distances = jnp.asarray(cell.distances)
    shares = {f"enrichment_{zone}": enrichment(modes, jnp.asarray(of)) for zone, of in zones(config, cell).items()}
    weights = interface_weights(distances, options.interface_width_a)
    return {
        "positions": crystal.atoms.positions,
        "cell": crystal.cell,
        "largest_force": jnp.abs(forces(energy, crystal, topology)).max(),
        "potential_energy": energy(crystal, topology),
        "sum_rule": constants.sum_rule(len(crystal)),
        "energies": modes.energies,
        "participation": participation_ratio(modes),
        "interface_participation": interface_participation(modes, weights),
        **shares,
        "density": density(config, crystal, options.mesh),
    }


def controls(config, folder: RunFolder, geometry: str, cell: InterfaceCell, sigma, found: dict) -> dict:
    """Bulk references in three layers, and draws of the crystal and of noise-matched bulk from the error bars."""
    crystal = crystal_of(cell, found[geometry])
    bulk, samples = sides(cell, crystal, sigma), config.spectra.samples if geometry != "relaxed" else 1
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 1), (samples, 3))
    references = {
        layer: np.stack([reference(config, geometry, layer, side, keys[0, 0]) for side in bulk])
        for layer in ("free", "strained")
    }
    matched, drawn = [], []
    with folder.progress(samples, f"samples of {geometry}") as tick:
        for number in range(samples):
            pairs = zip(bulk, keys[number, :2], strict=True)
            matched.append([reference(config, geometry, "matched", side, key) for side, key in pairs])
            if geometry == "relaxed":
                drawn.append(found[geometry]["density"])
            else:
                noise = sigma * np.asarray(jax.random.normal(keys[number, 2], sigma.shape))
                again = moved(config, geometry, cell.crystal.moved(cell.crystal.atoms.positions + noise), sigma)
                drawn.append(density(config, again, config.spectra.mesh))
            tick(number + 1)
    references["matched"] = np.mean(matched, axis=0)
    fits = {layer: bulk_fit(found[geometry]["density"], references[layer]) for layer in LAYERS}
    draws = [bulk_fit(one, np.array(refs)).residual for one, refs in zip(drawn, matched, strict=True)]
    return {
        **{f"reference_{layer}": references[layer] for layer in LAYERS},
        **{f"residual_{layer}": fits[layer].residual for layer in LAYERS},
        **{f"shares_{layer}": fits[layer].shares for layer in LAYERS},
        **{f"relative_{layer}": fits[layer].relative for layer in LAYERS},
        "density_spread": np.std(drawn, axis=0, ddof=min(1, samples - 1)),
        "residual_spread": np.std(draws, axis=0, ddof=min(1, samples - 1)),
        "residual_draws": np.array(draws),
    }


def unfolded(config: PhononsInterfaceConfig, cell: InterfaceCell, found: dict) -> dict:
    """The spectral function on Γ-M-K-Γ of the primitive cell."""
    crystal = crystal_of(cell, found)
    sites = Sites(cell.cells, cell.basis, cell.multiples, 3)
    energies, weights = unfold(constants_of(config, crystal), crystal, sites, jnp.asarray(wave_vectors(config)))
    grid = jnp.asarray(energies_of(config))
    return {"spectral_function": spectral_function(energies, weights, grid, config.spectra.width_mev / 2)}


def wave_vectors(config: PhononsInterfaceConfig) -> np.ndarray:
    """Γ-M-K-Γ of the primitive cell, (k, 3)."""
    return path(CORNERS, config.spectra.path_steps)


def bulk_bands(config: PhononsInterfaceConfig, cell: InterfaceCell, sigma) -> dict:
    """The bands of free bulk on either side, meV, by material."""
    materials = [side.material for side in sides(cell, cell.crystal, sigma)]
    return {material: bands(config, material, wave_vectors(config)) for material in materials}


def numbers(config: PhononsInterfaceConfig, found: dict) -> dict:
    """What one geometry comes to."""
    energies = found["energies"]
    return {
        "largest_force_ev_per_a": found["largest_force"],
        "potential_energy_ev": found["potential_energy"],
        "sum_rule_ev_per_a2": found["sum_rule"],
        "imaginary_percent": 100 * float(np.mean(energies < -0.1)),
        "lowest_mev": float(energies.min()),
        "highest_mev": float(energies.max()),
        "median_participation": float(np.median(found["participation"])),
        "modes_localised_at_the_interface_percent": 100 * float(np.mean(found["enrichment_interface"] > 2)),
        **{f"residual_{layer}_percent": 100 * found[f"relative_{layer}"] for layer in LAYERS},
        **{f"peaks_{layer}_mev": [p.energy for p in residual_peaks(config, found, layer)] for layer in LAYERS},
    }


def write(config, folder: RunFolder, cell: InterfaceCell, sigma, found: dict, metrics: dict, bulk: dict) -> None:
    """Write atoms.extxyz, results.h5, the figures and report.html."""
    best = crystal_of(cell, found["map"])
    with folder.writing("atoms.extxyz") as file:
        save_atoms(file, best.atoms, sigma, overwrite=True)
    grid = energies_of(config)
    kinds = {
        "positions": ("Å", "atom, (x y z)"), "cell": ("Å", "vector, (x y z)"), "energies": ("meV", "q, mode"),
        "density": ("1/meV/atom", "energy"), "density_spread": ("1/meV/atom", "energy"),
        "participation": ("1", "q, mode"), "interface_participation": ("1", "q, mode"),
        "enrichment_interface": ("1", "q, mode"), "enrichment_seam": ("1", "q, mode"),
        "spectral_function": ("1/meV", "q, energy"),
        "residual_matched": ("1/meV/atom", "energy"), "residual_spread": ("1/meV/atom", "energy"),
        "residual_strained": ("1/meV/atom", "energy"), "residual_free": ("1/meV/atom", "energy"),
        "reference_matched": ("1/meV/atom", "side, energy"), "reference_strained": ("1/meV/atom", "side, energy"),
        "reference_free": ("1/meV/atom", "side, energy"),
    }  # fmt: skip
    arrays = {f"{name}_{key}": (found[name][key], *kind) for name in GEOMETRIES for key, kind in kinds.items()}
    arrays |= {f"bands_{material}": (energies, "meV", "q, band") for material, energies in bulk.items()}
    with folder.writing("results.h5") as file:
        save_arrays(file, arrays | {"energy": (grid, "meV", "energy")}, {"width_mev": config.spectra.width_mev})
    listed = save_figures(folder, drawn(config, cell, found, grid, bulk))
    view = atoms_view(
        np.asarray(best.atoms.positions), list(best.atoms.symbols), sigma, title="Most probable supercell"
    )
    provenance = {"seed": config.seed, "precision": config.precision, "recipe": config.recipe}
    write_report(
        folder.path / "report.html", f"jaxaet: {config.recipe}", metrics["result"], folder.with_warnings(metrics),
        listed, view, dump_config(config), provenance,
    )  # fmt: skip


def plan(config: PhononsInterfaceConfig) -> dict:
    """Shapes, memory and time of the run; the time was fitted to two CPU cores and is good to a factor of two."""
    found, _ = measured_atoms(config)
    atoms = len(interface_cell(found, config.supercell.metals, config.supercell.rows, config.supercell.columns).crystal)
    size, points = 3 * atoms, int(np.prod(config.spectra.mesh))
    solves = points * (6 + 4 * config.spectra.samples) + 9 * config.spectra.path_steps
    return {
        "atoms": atoms,
        "dynamical_matrix": f"{size} × {size}",
        "wave_vectors": f"{points} of the mesh, {3 * config.spectra.path_steps + 1} of the path",
        "peak_memory_gb": round(16 * size**2 * 3 * (3 * config.spectra.path_steps) / 1e9 + 1, 2),
        "estimated_time_s": round(90 + 1.5e-9 * size**3 * solves),
    }
