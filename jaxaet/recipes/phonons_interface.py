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
    peaks,
    spectral_function,
    unfold,
)
from jaxaet.recipes.config import PhononsInterfaceConfig
from jaxaet.recipes.config_file import dump_config
from jaxaet.recipes.results import save_figures
from jaxaet.recipes.run_folder import RunFolder
from jaxaet.recipes.spectra import (
    GEOMETRIES,
    LAYERS,
    constants_of,
    density,
    energies_of,
    moved,
    potential,
    reference,
    sides,
)
from jaxaet.specimen import Atoms, Crystal, InterfaceCell, interface_cell, paper_heterojunction
from jaxaet.viz import (
    atoms_view,
    controls_figure,
    displacements_figure,
    interface_figure,
    unfolded_figure,
    write_report,
)

PROMINENT = 0.03  # of the density's maximum, that a peak of the residual has to stand out by
NEAR = 2.5  # meV, within which a peak counts as the one looked for
CERTAIN = 2.0  # standard deviations
CORNERS = np.array([[0, 0, 0], [0.5, 0, 0], [1 / 3, 1 / 3, 0], [0, 0, 0]])  # Γ, M, K, Γ


def run(config: PhononsInterfaceConfig, folder: RunFolder) -> dict:
    """Cut the supercell, find its phonons in three geometries, compare with bulk, and say what is left."""
    atoms, sigma = measured_atoms(config)
    cell = interface_cell(atoms, config.supercell.metals, config.supercell.rows, config.supercell.columns)
    sigma = sigma[cell.source]
    metrics: dict = {"supercell": census(cell, config)}
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
    metrics["result"] = " ".join(sentence(energy, found, config) for energy in config.spectra.looked_for_mev)
    write(config, folder, cell, sigma, found, metrics)
    return metrics


def measured_atoms(config: PhononsInterfaceConfig) -> tuple[Atoms, np.ndarray]:
    """The atoms and the standard deviations of their coordinates, (n, 3) in Å."""
    table, file = config.data.sigma_pm, config.data.atoms
    specimen_key, noise_key = jax.random.split(jax.random.key(config.seed))
    atoms = paper_heterojunction(specimen_key) if file is None else load_atoms(file)
    sigma = None if file is None else load_error_bars(file)
    if sigma is None:
        missing = sorted(set(atoms.symbols.tolist()) - set(table))
        if missing:
            raise InputError(
                f"data.sigma_pm says nothing of {missing} and {file} has no error bars; add those species."
            )
        sigma = np.repeat(np.array([[table[s]] for s in atoms.symbols]) / 100 / np.sqrt(3), 3, axis=1)
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
    zone = (jnp.abs(distances) < options.interface_width_a).astype(float)
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
        "enrichment": enrichment(modes, zone),
        "density": density(config, crystal, options.mesh),
    }


def crystal_of(cell: InterfaceCell, found: dict) -> Crystal:
    """The crystal of a stage's arrays."""
    return cell.crystal.stretched(jnp.asarray(found["cell"])).moved(jnp.asarray(found["positions"]))


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
        "density_spread": np.std(drawn, axis=0),
        "residual_spread": np.std(draws, axis=0),
        "residual_draws": np.array(draws),
    }


def unfolded(config: PhononsInterfaceConfig, cell: InterfaceCell, found: dict) -> dict:
    """The spectral function on Γ-M-K-Γ of the primitive cell."""
    crystal = crystal_of(cell, found)
    sites = Sites(cell.cells, cell.basis, cell.multiples, 3)
    energies, weights = unfold(
        constants_of(config, crystal), crystal, sites, jnp.asarray(path(CORNERS, config.spectra.path_steps))
    )
    grid = jnp.asarray(energies_of(config))
    return {"spectral_function": spectral_function(energies, weights, grid, config.spectra.width_mev / 2)}


def residual_peaks(config: PhononsInterfaceConfig, found: dict, layer: str) -> list:
    """The peaks of what bulk leaves."""
    return peaks(energies_of(config), found[f"residual_{layer}"], PROMINENT * found["density"].max())


def certainty(found: dict, config: PhononsInterfaceConfig, energy: float) -> float:
    """How many standard deviations of the draws the noise-matched residual is above 0 at an energy."""
    index = int(np.abs(energies_of(config) - energy).argmin())
    spread = found["residual_spread"][index]
    return float(found["residual_matched"][index] / spread) if spread > 0 else np.inf


def position_spread(found: dict, config: PhononsInterfaceConfig, energy: float) -> float | None:
    """The standard deviation, meV, of a peak's position over the draws in which it is found."""
    limit = PROMINENT * found["density"].max()
    places = []
    for draw in found["residual_draws"]:
        near = [p.energy for p in peaks(energies_of(config), draw, limit) if abs(p.energy - energy) < NEAR]
        places += [min(near, key=lambda e: abs(e - energy))] if near else []
    return float(np.std(places)) if len(places) > 1 else None


def nearest(config, found: dict, layer: str, energy: float):
    """The residual peak nearest to an energy, or None if there is none within reach."""
    near = [p for p in residual_peaks(config, found, layer) if abs(p.energy - energy) < NEAR]
    return min(near, key=lambda p: abs(p.energy - energy)) if near else None


def peak_table(config: PhononsInterfaceConfig, energy: float, found: dict) -> dict:
    """Where a peak is found in each geometry against each layer of bulk references, meV, or None."""
    table = {}
    for name in GEOMETRIES:
        places = {layer: nearest(config, found[name], layer, energy) for layer in LAYERS}
        table[name] = {f"{layer}_mev": None if p is None else p.energy for layer, p in places.items()}
        last = places["matched"]
        table[name]["spread_mev"] = None if last is None else position_spread(found[name], config, last.energy)
        certain = None if last is None else certainty(found[name], config, last.energy)
        table[name]["standard_deviations"] = None if certain is None or np.isinf(certain) else certain
    return table


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
        "modes_localised_at_the_interface_percent": 100 * float(np.mean(found["enrichment"] > 2)),
        **{f"residual_{layer}_percent": 100 * found[f"relative_{layer}"] for layer in LAYERS},
        **{f"peaks_{layer}_mev": [p.energy for p in residual_peaks(config, found, layer)] for layer in LAYERS},
    }


def sentence(energy: float, found: dict, config: PhononsInterfaceConfig) -> str:
    """What became of one peak, in words."""
    measured = [nearest(config, found["as_measured"], layer, energy) for layer in ("free", "matched")]
    probable = nearest(config, found["map"], "matched", energy)
    start = f"{energy:g} meV: "
    if measured[0] is None and probable is None:
        return start + "no peak beyond bulk."
    if probable is None:
        gone = "" if measured[1] else " and is gone once bulk has the same strain and noise"
        return start + f"a peak of the raw coordinates only{gone}; it does not survive in the most probable structure."
    certain = certainty(found["map"], config, probable.energy)
    relaxed = nearest(config, found["relaxed"], "strained", energy)
    also = "also" if relaxed else "not"
    if certain < CERTAIN:
        return (
            start + f"at {probable.energy:.1f} meV in the most probable structure, within the noise ({certain:.1f} σ)."
        )
    return start + (
        f"survives all controls at {probable.energy:.1f} meV ({certain:.1f} σ); it is {also} there when the interface "
        "is relaxed."
    )


def write(config, folder: RunFolder, cell: InterfaceCell, sigma, found: dict, metrics: dict) -> None:
    """Write atoms.extxyz, results.h5, the figures and report.html."""
    best = crystal_of(cell, found["map"])
    with folder.writing("atoms.extxyz") as file:
        save_atoms(file, best.atoms, sigma, overwrite=True)
    grid = energies_of(config)
    kinds = {
        "positions": ("Å", "atom, (x y z)"), "cell": ("Å", "vector, (x y z)"), "energies": ("meV", "q, mode"),
        "density": ("1/meV/atom", "energy"), "density_spread": ("1/meV/atom", "energy"),
        "participation": ("1", "q, mode"), "interface_participation": ("1", "q, mode"),
        "enrichment": ("1", "q, mode"), "spectral_function": ("1/meV", "q, energy"),
        "residual_matched": ("1/meV/atom", "energy"), "residual_spread": ("1/meV/atom", "energy"),
        "residual_strained": ("1/meV/atom", "energy"), "residual_free": ("1/meV/atom", "energy"),
    }  # fmt: skip
    arrays = {f"{name}_{key}": (found[name][key], *kind) for name in GEOMETRIES for key, kind in kinds.items()}
    with folder.writing("results.h5") as file:
        save_arrays(file, arrays | {"energy": (grid, "meV", "energy")}, {"width_mev": config.spectra.width_mev})
    listed = save_figures(folder, drawn(config, cell, found, grid))
    view = atoms_view(
        np.asarray(best.atoms.positions), list(best.atoms.symbols), sigma, title="Most probable supercell"
    )
    provenance = {"seed": config.seed, "precision": config.precision, "recipe": config.recipe}
    write_report(
        folder.path / "report.html", f"jaxaet: {config.recipe}", metrics["result"], metrics, listed, view,
        dump_config(config), provenance,
    )  # fmt: skip


def drawn(config: PhononsInterfaceConfig, cell: InterfaceCell, found: dict, grid) -> list:
    """The figures as (title, caption, figure)."""
    ticks = [config.spectra.path_steps * i for i in range(4)]
    titles = {"as_measured": "As measured", "map": "Most probable", "relaxed": "Relaxed"}
    maps = {titles[name]: found[name]["spectral_function"] for name in GEOMETRIES}
    figures = [
        ("Interface", "Density of states against bulk with the same strain and noise, what is left, participation "
         "ratios; most probable structure.", interface_figure(grid, found["map"], config.spectra.looked_for_mev)),
        ("As measured", "The same for the coordinates as measured.",
         interface_figure(grid, found["as_measured"], config.spectra.looked_for_mev)),
        ("Unfolded", "Spectral function on the path of the primitive cell.", unfolded_figure(grid, maps, ticks)),
        ("Controls", "What each layer of bulk references leaves of the density of states.",
         controls_figure(grid, {titles[n]: found[n] for n in GEOMETRIES}, config.spectra.looked_for_mev)),
    ]  # fmt: skip
    crystal = crystal_of(cell, found["map"])
    modes = find_modes(constants_of(config, crystal), crystal, jnp.zeros((1, 3)))
    zone = (jnp.abs(jnp.asarray(cell.distances)) < config.spectra.interface_width_a).astype(float)
    share = np.asarray(enrichment(modes, zone))[0]
    energies = np.asarray(modes.energies[0])
    chosen = [
        int(max(np.flatnonzero(np.abs(energies - e) < NEAR), key=lambda j: share[j], default=0))
        for e in config.spectra.looked_for_mev
    ]
    vectors = np.asarray(modes.eigenvectors[0].real).reshape(len(crystal), 3, -1)[:, :, chosen]
    moves = np.moveaxis(vectors / np.sqrt(np.asarray(crystal.masses))[:, None, None], 2, 0)
    figures.append((
        "Modes", "Displacements at Γ: near each energy looked for the mode with the largest share at the interface.",
        displacements_figure(np.asarray(crystal.atoms.positions), list(crystal.atoms.symbols), moves,
                             energies[chosen], share[chosen]),
    ))  # fmt: skip
    return figures


def plan(config: PhononsInterfaceConfig) -> dict:
    """Shapes, memory and time of the run; the time was fitted to two CPU cores and is good to a factor of two."""
    atoms = 3 * sum(config.supercell.rows) * config.supercell.columns
    size, points = 3 * atoms, int(np.prod(config.spectra.mesh))
    solves = points * (6 + 4 * config.spectra.samples) + 9 * config.spectra.path_steps
    return {
        "atoms": atoms,
        "dynamical_matrix": f"{size} × {size}",
        "wave_vectors": f"{points} of the mesh, {3 * config.spectra.path_steps + 1} of the path",
        "peak_memory_gb": round(16 * size**2 * 3 * (3 * config.spectra.path_steps) / 1e9 + 1, 2),
        "estimated_time_s": round(90 + 1.5e-9 * size**3 * solves),
    }
