"""Bonds and twist of the published image of twisted bilayer graphene; takes its path, writes NAME.png, NAME.npz.

A. C. Houston et al., Nano Lett. 25, 9277 (2025) report a mean of 1.39 Å and a FWHM of 0.12 Å, of the nearest two atoms.
"""

import sys

import numpy as np

import jaxaet as ja

PIXEL, LATTICE = 0.1062231596676198, 2.46  # Å, the first as published with the image


def atoms(image, pixel):
    """The columns of each layer, found by the network that comes with the package."""
    network, about = ja.load_weights("graphene")
    prediction = ja.predict(network, image, pixel, about["pixel"], copies=8)
    return [layer.positions for layer in ja.decode(prediction, ja.graphene_sheet())]


def fits(image, pixel, layers):
    """The common distortion and the twist, from the spots alone, from the atoms, and with a bent scan."""
    return {
        "spots": ja.twist_from_image(image, pixel, LATTICE),
        "spots, strained": ja.twist_from_image(image, pixel, LATTICE, heterostrain=True),
        "atoms": ja.twist_from_atoms(layers, LATTICE),
        "atoms, strained": ja.twist_from_atoms(layers, LATTICE, heterostrain=True),
        "atoms, bent scan": ja.twist_from_atoms(layers, LATTICE, order=5),
    }


def bonds(layers, found):
    """Lengths by title: as the paper takes them, true bonds, and true bonds without the common distortion."""
    lengths = {"nearest two": [ja.nearest_distances(p).ravel() for p in layers]}
    lengths["true bonds"] = [ja.bond_lengths(p) for p in layers]
    for name in ("spots", "atoms", "atoms, bent scan"):
        undone = [ja.undistorted(points, found[name]) for points in layers]
        lengths[f"true bonds, without the distortion of the {name}"] = [ja.bond_lengths(points) for points in undone]
    return lengths


if __name__ == "__main__":
    image, pixel = ja.load_image(sys.argv[1], pixel_size=PIXEL)
    layers = atoms(image := image.astype(float), pixel)
    found = fits(image, pixel, layers)
    print("atoms:", *(len(points) for points in layers))
    for name, fit in found.items():
        twist, error = np.rad2deg([abs(fit.twists[1]), fit.twists_error[1]])
        print(f"{name}: twist {twist:.3f} ± {error:.3f}°, stretches {fit.stretches.round(4)}")
        print("  strain of the first layer, %:", *(100 * fit.heterostrain[0])[[0, 0, 1], [0, 1, 1]].round(3), end=" ± ")
        print(*(100 * fit.heterostrain_error[0])[[0, 0, 1], [0, 1, 1]].round(3))
    for name, of_layers in (lengths := bonds(layers, found)).items():
        print(name, *(f"{np.mean(b):.4f} Å, FWHM {ja.full_width(b):.3f} Å" for b in of_layers), sep="; ")
    panels = {name: {f"layer {i}": b for i, b in enumerate(of, 1)} for name, of in lengths.items()}
    ja.save_figure(ja.bonds_figure(panels, LATTICE / np.sqrt(3)), f"{sys.argv[2]}.png")
    np.savez(f"{sys.argv[2]}.npz", first=layers[0], second=layers[1], twist=found["atoms"].twists)
