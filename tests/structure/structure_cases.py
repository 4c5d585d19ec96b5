"""Sheets of which everything is known."""

import numpy as np

LATTICE, BOND = 2.46, 2.46 / np.sqrt(3)
IDENTITY = np.eye(2)
HONEYCOMB = np.array([[1 / 3, 2 / 3], [2 / 3, 1 / 3]])


def turned(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def honeycomb(side, angle=0.0, distortion=IDENTITY, lattice=LATTICE, sites=HONEYCOMB, shift=(0.0, 0.0)):
    """The atoms of a sheet within a square of `side` Å, turned by `angle` and then distorted: (n, 2), Å."""
    cells = np.arange(-int(side / lattice) - 3, int(side / lattice) + 4)
    cells = np.stack(np.meshgrid(cells, cells), axis=-1).reshape(-1, 1, 2)
    vectors = lattice * np.array([[1, -0.5], [0, np.sqrt(3) / 2]])
    points = (cells + sites[None]).reshape(-1, 2) @ (distortion @ turned(angle) @ vectors).T + np.asarray(shift)
    return points[np.abs(points).max(axis=1) < side / 2]
