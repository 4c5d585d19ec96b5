"""What bulk leaves of the paper's interface phonons, and what of it is strain and noise; writes NAME.png, NAME.npz."""

import sys

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxaet as ja

jax.config.update("jax_enable_x64", True)
SIGMA = {"Mo": 0.04, "S": 0.15, "W": 0.06, "Se": 0.15}  # Å, the AET paper's rms errors in 3D
GRID, BULK = np.arange(2.0, 70.0, 0.25), ("MoS2", "WSe2")
energy, generator = ja.StillingerWeber(), np.random.default_rng(0)


def density(crystal):
    constants, q = ja.force_constants(energy, crystal, energy.topology(crystal)), jnp.asarray(ja.half_mesh((2, 6, 1)))
    return np.asarray(ja.total_density(constants, crystal, q, jnp.asarray(GRID), 1.0)) / len(crystal)


def noisy(crystal):
    sigma = np.array([SIGMA[symbol] for symbol in crystal.atoms.symbols])[:, None] / np.sqrt(3)
    return crystal.moved(crystal.atoms.positions + sigma * generator.normal(size=(len(crystal), 3)))


def with_defects(crystal, distances):
    """A ripple along the interface, four S and four Se exchanged, two chalcogens missing within 6 Å of it."""
    height = 0.38 * np.cos(2 * np.pi * crystal.atoms.positions[:, 1] / crystal.cell[1, 1])
    positions = np.array(crystal.atoms.positions.at[:, 2].add(height * np.exp(-(distances**2) / 50)))
    symbols = crystal.atoms.symbols.copy()
    near = [np.flatnonzero((np.abs(distances) < 6) & (symbols == name)) for name in ("S", "Se")]
    first, second = (generator.choice(atoms, 4, replace=False) for atoms in near)
    symbols[first], symbols[second] = "Se", "S"
    kept = np.setdiff1d(np.arange(len(symbols)), generator.choice(np.concatenate(near), 2, replace=False))
    return ja.Crystal(ja.Atoms.from_symbols(positions[kept], symbols[kept]), crystal.cell)


def residuals():
    """The density of the noisy interface, and what bulk leaves of it: free, strained, strained with noise."""
    none = {"ripple_amplitude": 0.0, "intermixing": 0.0, "vacancies": 0, "vacancies_at_interface": 0}
    cell = ja.interface_cell(ja.lateral_heterojunction(**none, substitutions=0, key=jax.random.key(0)))
    relaxed = ja.relax(energy, cell.crystal, (True, True, False)).crystal
    start = [ja.rectangular_cell(name, 12, 4, period=float(relaxed.cell[1, 1]) / 4) for name in BULK]
    free, strained = ([ja.relax(energy, c, (True, y, False)).crystal for c in start] for y in (True, False))
    fits = {"free bulk": [density(c) for c in free], "strained bulk": [density(c) for c in strained]}
    fits["strained bulk with noise"] = [np.mean([density(noisy(c)) for _ in range(4)], axis=0) for c in strained]
    states = density(noisy(with_defects(relaxed, cell.distances)))
    return states, {name: ja.bulk_fit(states, np.array(bulk)).residual for name, bulk in fits.items()}


if __name__ == "__main__":
    (states, left), axes = residuals(), plt.axes(xlabel="energy (meV)", ylabel="beyond bulk (1/meV/atom)")
    for name, curve in left.items():
        print(label := f"{name}: {100 * np.linalg.norm(curve) / np.linalg.norm(states):.1f} %")
        axes.plot(GRID, curve, label=label)
    axes.legend()
    plt.savefig(f"{sys.argv[1]}.png", dpi=150)
    np.savez(f"{sys.argv[1]}.npz", energies=GRID, interface=states, **left)
