"""Peaks of what bulk does not explain: where they are, how certain, and which controls they survive."""

import numpy as np
from jaxtyping import Float

from jaxaet.phonons import Peak, peaks
from jaxaet.recipes.config import PhononsInterfaceConfig
from jaxaet.recipes.spectra import GEOMETRIES, LAYERS, energies_of
from jaxaet.specimen import InterfaceCell

PROMINENT = 0.03  # of the density's maximum, that a peak of the residual has to stand out by
NEAR = 2.5  # meV, within which a peak counts as the one looked for
CERTAIN = 2.0  # standard deviations
REFERENCES = {
    "free": "free bulk", "strained": "bulk of the same strain", "matched": "bulk of the same strain and noise"
}  # fmt: skip


def residual_peaks(config: PhononsInterfaceConfig, found: dict, layer: str) -> list[Peak]:
    """The peaks of what bulk leaves."""
    return peaks(energies_of(config), found[f"residual_{layer}"], PROMINENT * found["density"].max())


def nearest(config: PhononsInterfaceConfig, found: dict, layer: str, energy: float) -> Peak | None:
    """The residual peak nearest to an energy, or None if there is none within reach."""
    near = [p for p in residual_peaks(config, found, layer) if abs(p.energy - energy) < NEAR]
    return min(near, key=lambda p: abs(p.energy - energy)) if near else None


def certainty(config: PhononsInterfaceConfig, found: dict, energy: float) -> float | None:
    """How many standard deviations of the draws the noise-matched residual is above 0, or None without draws."""
    index = int(np.abs(energies_of(config) - energy).argmin())
    spread = found["residual_spread"][index]
    return float(found["residual_matched"][index] / spread) if spread > 0 else None


def position_spread(config: PhononsInterfaceConfig, found: dict, energy: float) -> float | None:
    """The standard deviation, meV, of a peak's position over the draws in which it is found."""
    limit = PROMINENT * found["density"].max()
    places = []
    for draw in found["residual_draws"]:
        near = [p.energy for p in peaks(energies_of(config), draw, limit) if abs(p.energy - energy) < NEAR]
        places += [min(near, key=lambda e: abs(e - energy))] if near else []
    return float(np.std(places, ddof=1)) if len(places) > 1 else None


def largest_near(config: PhononsInterfaceConfig, found: dict, layer: str, energy: float) -> float:
    """The largest residual within one rms broadening of an energy, per meV and atom."""
    near = np.abs(energies_of(config) - energy) <= config.spectra.width_mev
    return float(np.asarray(found[f"residual_{layer}"])[near].max())


def enrichment_near(config: PhononsInterfaceConfig, found: dict, zone: str, energy: float) -> float:
    """The mean share of the modes' energy in a zone over its share of the atoms, within one rms broadening of an
    energy; 1 where there is no mode."""
    near = np.abs(found["energies"] - energy) < config.spectra.width_mev
    return float(np.mean(found[f"enrichment_{zone}"][near])) if near.any() else 1.0


def zones(config: PhononsInterfaceConfig, cell: InterfaceCell) -> dict[str, Float[np.ndarray, " n"]]:
    """1 for the atoms within the interface's width of the measured interface, and of the seam where the strip ends."""
    length, width = float(cell.crystal.cell[0, 0]), config.spectra.interface_width_a
    from_seam = (np.asarray(cell.crystal.atoms.positions)[:, 0] + cell.closing_gap / 2) % length
    near = {"interface": np.abs(cell.distances), "seam": np.minimum(from_seam, length - from_seam)}
    return {name: (distance < width).astype(float) for name, distance in near.items()}


def peak_table(config: PhononsInterfaceConfig, energy: float, found: dict) -> dict:
    """Where a peak is found in each geometry against each layer of bulk references, meV, or None, and how sure that is.

    `enrichment_*`: energy of the modes within one rms broadening of it over their even share, at the measured interface
    and at the seam.
    """
    table = {}
    for name in GEOMETRIES:
        places = {layer: nearest(config, found[name], layer, energy) for layer in LAYERS}
        row = {f"{layer}_mev": None if p is None else p.energy for layer, p in places.items()}
        last = places["matched"]
        row["spread_mev"] = None if last is None else position_spread(config, found[name], last.energy)
        row["standard_deviations"] = None if last is None else certainty(config, found[name], last.energy)
        row["height_per_mev_and_atom"] = None if last is None else last.height
        for zone in ("interface", "seam"):
            near = (
                np.abs(found[name]["energies"] - (energy if last is None else last.energy)) < config.spectra.width_mev
            )
            row[f"enrichment_{zone}"] = float(np.mean(found[name][f"enrichment_{zone}"][near])) if near.any() else None
        table[name] = row
    return table


def sentence(config: PhononsInterfaceConfig, energy: float, found: dict) -> str:
    """What became of one peak, in words."""
    start, probable = f"{energy:g} meV: ", nearest(config, found["map"], "matched", energy)
    if probable is None:
        seen = elsewhere(config, energy, found)
        return start + (f"not in the most probable structure; {'; '.join(seen)}." if seen else "no peak beyond bulk.")
    certain, spread = (f(config, found["map"], probable.energy) for f in (certainty, position_spread))
    place = f"{probable.energy:.2f}" + ("" if spread is None else f" ± {spread:.2f}") + " meV"
    sure = "" if certain is None else f" ({certain:.1f} σ)"
    if certain is not None and certain < CERTAIN:
        return start + f"at {place} in the most probable structure, within the noise{sure}."
    survives = [name for layer, name in REFERENCES.items() if nearest(config, found["map"], layer, energy) is not None]
    fails = [name for name in REFERENCES.values() if name not in survives]
    but = f"against {listed(survives)}, not against {listed(fails)}" if fails else "against every bulk reference"
    kept = max(largest_near(config, found["relaxed"], "strained", probable.energy) / probable.height, 0.0)
    share, seam = (enrichment_near(config, found["map"], zone, probable.energy) for zone in ("interface", "seam"))
    return start + (
        f"at {place}{sure} in the most probable structure {but}; the relaxed interface has {100 * kept:.0f} % "
        f"of it; modes there have {share:.1f} times their even share at the interface, {seam:.1f} times at the seam."
    )


def elsewhere(config: PhononsInterfaceConfig, energy: float, found: dict) -> list[str]:
    """Where a peak is that the most probable structure does not have, in words."""
    seen, raw = [], found["as_measured"]
    places = {layer: nearest(config, raw, layer, energy) for layer in LAYERS}
    against = [REFERENCES[layer] for layer, peak in places.items() if peak is not None]
    if against:
        certain = None if places["matched"] is None else certainty(config, raw, places["matched"].energy)
        noise = f", the last within the noise ({certain:.1f} σ)" if certain is not None and certain < CERTAIN else ""
        seen.append(f"in the coordinates as measured against {listed(against)}{noise}")
    relaxed = nearest(config, found["relaxed"], "strained", energy)
    if relaxed is not None:
        share = enrichment_near(config, found["relaxed"], "interface", relaxed.energy)
        seen.append(
            f"in the relaxed interface at {relaxed.energy:.2f} meV against {REFERENCES['strained']}, where modes have "
            f"{share:.1f} times their even share at the interface"
        )
    return seen


def listed(names: list[str]) -> str:
    """Names as a phrase."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
