"""Simulated twins of the published WS2 on WS2(1-x)Se2x bilayer, ~2 % and ~12 % Se; writes NAME.png and NAME.npz.

Se by layer, counted and by Vegard's law, and whether it prefers sites of the moiré, as drawn and where it was planted
with 2.5 times the chance at a stacking of 1.0 to 1.5 Å. A. C. Houston et al., Nano Lett. 25, 9277 (2025), fig. 4.
"""

import dataclasses
import sys

import jax
import numpy as np

import jaxaet as ja

PIXELS, PIXEL = 512, 0.106  # Å
ENDS = (3.1907, 3.1907 * 1.041)  # Å, lattice constants of WS2 and WSe2 as they are drawn
SHARES = jax.numpy.array([[0.04, 0.0], [0.24, 0.0]])  # of Se in the two sublayers of each layer
SHEET = dataclasses.replace(ja.tungsten_sheet(), reach=22)
VARIATION = ja.Variation(strain=0, distortion=0, hole=0, vacancies=(0, 0), pixel=(PIXEL, PIXEL), counts=(3, 4))


def layers_of(image):
    """Metals, chalcogens, and which of these hold S and Se, of both layers, the one with less Se first."""
    network, about = ja.load_weights("ws2")
    found, prediction = [], ja.predict(network, image, PIXEL, about["pixel"], copies=2)
    for positions, chance, _ in ja.decode(prediction, SHEET):
        metal = chance[:, 2] > chance[:, :2].max(axis=1)
        found.append((positions[metal], positions[~metal], chance[~metal, :2] > 0.5))
    return sorted(found, key=lambda layer: layer[2][:, 1].mean())


def composition(layers):
    """Se of both layers, %: counted, and by Vegard's law from the lattices of the metals; and the twist in degrees."""
    fit = ja.twist_from_atoms([metals for metals, *_ in layers], ENDS[0], sites=((0.0, 0.0),), heterostrain=True)
    lattices = ENDS[0] * np.sqrt(np.linalg.det(fit.distortion @ (np.eye(2) + fit.heterostrain)))
    counted = [ja.substituted_fraction(*kinds.T)[0] for _, _, kinds in layers]
    return 100 * np.array(counted), 100 * ja.vegard_fraction(lattices, ENDS), np.rad2deg(fit.twists[1])


if __name__ == "__main__":
    draw = jax.jit(lambda key: ja.gombnet.draw(key, SHEET, 2, VARIATION, PIXELS, SHARES).image)
    found = [layers_of(np.asarray(draw(jax.random.key(seed)))) for seed in range(6)]
    for layers in found:
        print("Se (%) counted {}, by Vegard's law {}, twist {}°".format(*(np.round(x, 1) for x in composition(layers))))
    stacking = [ja.moire_registry(second[1], first[:2], second[:2]).stacking for first, second in found]
    stacking, holds = np.concatenate(stacking), np.concatenate([second[2][:, 1] for _, second in found])
    sets = {"Se as found": np.flatnonzero(holds)}
    for name, preference in {"random sites": 1.0, "planted 2.5 ×": 2.5}.items():
        sets[name] = ja.planted_sites(jax.random.key(int(preference)), stacking, holds.sum(), preference)
    at = np.linspace(0, 4, 161)
    densities = {"all sites": ja.bootstrap_density(jax.random.key(9), stacking, at)}
    for name, chosen in sets.items():
        tests = ja.preference_tests(stacking[chosen], np.delete(stacking, chosen))
        print(f"{name}: {len(chosen)} of {len(stacking)}, p {tests.chi_squared_p:.3g} (χ²) {tests.distance_p:.3g} (KS)")
        densities[name] = ja.bootstrap_density(jax.random.key(9), stacking[chosen], at)
    first, second = found[0]
    shown = ja.moire_registry(ja.pixel_centres((PIXELS, PIXELS), PIXEL), first[:2], second[:2]).stacking
    figure = ja.moire_figure(shown.reshape(PIXELS, -1), PIXEL, second[1][second[2][:, 1]], at, densities)
    ja.save_figure(figure, f"{sys.argv[1]}.png")
    np.savez(f"{sys.argv[1]}.npz", stacking=stacking, holds_selenium=holds)
