"""The figures of the phonons of an interface, and the modes that are drawn."""

import jax.numpy as jnp
import numpy as np

from jaxaet.phonons import enrichment, find_modes
from jaxaet.recipes.beyond_bulk import NEAR, zones
from jaxaet.recipes.config import PhononsInterfaceConfig
from jaxaet.recipes.spectra import CORNERS, GEOMETRIES, constants_of, crystal_of
from jaxaet.specimen import InterfaceCell
from jaxaet.viz import controls_figure, displacements_figure, interface_figure, unfolded_figure

TITLES = {"as_measured": "As measured", "map": "Most probable", "relaxed": "Relaxed"}


def drawn(config: PhononsInterfaceConfig, cell: InterfaceCell, found: dict, grid, bulk: dict) -> list:
    """The figures as (title, caption, figure)."""
    marked = config.spectra.looked_for_mev
    return [
        (
            "Interface",
            "Density of states against bulk with the same strain and noise, what is left, participation ratios; most "
            f"probable structure. Dotted: the energies looked for.{imaginary(found['map'])}",
            interface_figure(grid, found["map"], marked),
        ),
        (
            "As measured",
            f"The same for the coordinates as measured.{imaginary(found['as_measured'])}",
            interface_figure(grid, found["as_measured"], marked),
        ),
        ("Unfolded", *unfolding(found, grid, bulk)),
        (
            "Controls",
            "What each layer of bulk references leaves of the density of states; percentages are its norm over "
            "that of the density. Relaxed bulk has no noise, so its last two layers agree.",
            controls_figure(grid, {TITLES[name]: found[name] for name in GEOMETRIES}, marked),
        ),
        ("Modes", *displacements(config, cell, found)),
    ]


def imaginary(found: dict) -> str:
    """What a figure from 0 meV on does not show."""
    energies = found["energies"]
    below = energies < -0.1
    if not below.any():
        return ""
    return f" {100 * below.mean():.2g} % of the modes are imaginary, down to {energies.min():.1f} meV, and not shown."


def unfolding(found: dict, grid, bulk: dict) -> tuple:
    """Caption and figure of the spectral functions."""
    maps = {TITLES[name]: found[name]["spectral_function"] for name in GEOMETRIES}
    densities = {"most probable": found["map"]["density"]}
    densities |= dict(zip(bulk, found["map"]["reference_free"], strict=True))
    caption = (
        "Spectral function on the path of the primitive cell, its square root, the brightest 0.5 % clipped, with the "
        "bands of free bulk; densities of the most probable structure and of free bulk."
    )
    return caption, unfolded_figure(grid, maps, bulk, densities)


def displacements(config: PhononsInterfaceConfig, cell: InterfaceCell, found: dict) -> tuple:
    """Caption and figure of the modes that are most at the interface."""
    crystal, (moves, energies, shares, points) = crystal_of(cell, found["map"]), interface_modes(config, cell, found)
    looked_for = ", ".join(f"{energy:g}" for energy in config.spectra.looked_for_mev)
    caption = (
        f"Displacements of the mode that is most at the interface within {NEAR:g} meV of {looked_for} meV, at Γ, "
        "M or K, in the most probable structure; dashed: the interface."
    )
    positions, symbols = np.asarray(crystal.atoms.positions), list(crystal.atoms.symbols)
    return caption, displacements_figure(positions, symbols, moves, energies, shares, points, cell.distances)


def interface_modes(config: PhononsInterfaceConfig, cell: InterfaceCell, found: dict) -> tuple:
    """Near each energy looked for the mode at Γ, M or K of the primitive cell with the largest share at the interface:
    displacements (m, n, 3), energies in meV, shares over the even one, and the points."""
    crystal = crystal_of(cell, found["map"])
    modes = find_modes(constants_of(config, crystal), crystal, jnp.asarray(CORNERS[:3] @ cell.multiples.T))
    share = np.asarray(enrichment(modes, jnp.asarray(zones(config, cell)["interface"])))
    energies, vectors = np.asarray(modes.energies), np.asarray(modes.eigenvectors)
    chosen = [
        max(np.argwhere(np.abs(energies - e) < NEAR).tolist(), key=lambda kj: share[*kj], default=[0, 0])
        for e in config.spectra.looked_for_mev
    ]
    masses = np.sqrt(np.asarray(crystal.masses))[:, None]
    moves = np.array([in_phase(vectors[k, :, j]).reshape(-1, 3) / masses for k, j in chosen])
    k, j = np.array(chosen).T
    return moves, energies[k, j], share[k, j], ["ΓMK"[number] for number in k]


def in_phase(vector: np.ndarray) -> np.ndarray:
    """The real part of a complex mode at the moment of its largest displacements."""
    return (vector * np.exp(-0.5j * np.angle(np.sum(vector**2)))).real
