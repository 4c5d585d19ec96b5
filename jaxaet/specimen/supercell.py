"""A periodic supercell cut across the zigzag interface of a measured sheet."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

from jaxaet.core import InputError
from jaxaet.specimen.atoms import Atoms
from jaxaet.specimen.crystal import Crystal, rectangular_multiples
from jaxaet.specimen.crystals import DICHALCOGENIDES

METALS = tuple(dict.fromkeys(entry[0] for entry in DICHALCOGENIDES.values()))
TOO_CLOSE = 1.0  # Å: no two atoms of any solid are nearer
FEWEST = 7  # metals: one and its neighbours
STEPS = np.array([[1, 0], [0, 1], [1, 1], [-1, 0], [0, -1], [-1, -1]])  # to a metal's six neighbours
PLACES = 3  # metal, upper and lower chalcogen of a primitive cell


class InterfaceCell(NamedTuple):
    """A supercell that holds a strip of the measured sheet.

    `crystal`: x across the interface from the first metal to the second, y along it. `source`: (n,) which of the
    measured atoms each one was. `cells`: (n, 3) and `basis`: (n,), its primitive cell and its place there, 0 the metal,
    1 and 2 the upper and the lower chalcogen; `multiples`: (3, 3), the supercell's vectors in primitive ones.
    `distances`: (n,) Å from the measured interface, negative before it. `vacancies`: chalcogen sites without an atom;
    `left_out`: atoms in the strip that are on no site of the lattice, or on one that another atom fits better.
    `row_strain`: (rows,), by how much each row was stretched along y to fit the common length. `closing_gap`: Å from
    the last row to the repeated first one, which nobody measured.
    """

    crystal: Crystal
    source: Int[np.ndarray, " n"]
    cells: Int[np.ndarray, "n 3"]
    basis: Int[np.ndarray, " n"]
    multiples: Int[np.ndarray, "3 3"]
    distances: Float[np.ndarray, " n"]
    vacancies: int
    left_out: int
    row_strain: Float[np.ndarray, " rows"]
    closing_gap: float


class Lattice(NamedTuple):
    """A sheet's atoms on the sites of a honeycomb.

    `positions`: (n, 3) turned so that x runs across the interface, Å. `sites`: (n, 3), cell along the two vectors of
    `monolayer_cell` and place; place -1 for an atom on no site. `side`: +1 if the chalcogen lies to the right of its
    metal, else -1.
    """

    positions: Float[np.ndarray, "n 3"]
    sites: Int[np.ndarray, "n 3"]
    side: int


def interface_cell(
    atoms: Atoms, pair: tuple[str, str] = ("Mo", "W"), rows: tuple[int, int] = (6, 6), columns: int = 4
) -> InterfaceCell:
    """Cuts the strip that closes best and repeats it.

    `atoms`: a sheet with a zigzag interface between two kinds of metal, `pair`. `rows`: of metals on either side, both
    even; `columns`: metals in a row; (6, 6) and 4 make the 144 atoms of the AET paper. Each row is strained along the
    interface to the mean length of all, and the sheet's tilt is taken out. The second interface of the period, where
    the strip's ends meet, is not measured: its gap is the mean spacing of the rows.
    Raises `InputError` if there is no zigzag interface between the two metals, the sheet is too small for the strip, or
    two atoms in it are nearer than 1 Å.
    """
    if min(*rows, columns) < 1 or sum(rows) % 2:
        raise InputError(
            f"{rows} rows of {columns} metals close no cell; give an even sum of rows and 1 column or more."
        )
    if {chalcogen for _, chalcogen, *_ in DICHALCOGENIDES.values()} & set(pair):
        raise InputError(f"Found the pair {pair[0]}, {pair[1]}; allowed two metals; name those of the two sides.")
    symbols = atoms.symbols
    lattice = index_sheet(np.asarray(atoms.positions, float), symbols, pair)
    metals = {(i, j): atom for atom, (i, j, place) in enumerate(lattice.sites.tolist()) if place == 0}
    first = boundary(metals, symbols, pair) - rows[0]
    total = sum(rows)
    starts = sorted({j - i // 2 for i, j in metals})
    fitting = [start for start in starts if _complete(metals, first, total, start, columns, pair, symbols, rows)]
    if not fitting:
        raise InputError(
            f"No strip of {rows[0]} + {rows[1]} complete rows of {columns} metals crosses the interface; give fewer "
            "rows or columns, or a larger sheet."
        )
    periods = {start: _periods(lattice, metals, first, total, start, columns) for start in fitting}
    start = min(fitting, key=lambda s: round(float(np.std(periods[s], axis=0).max()), 6))  # of equal ones the first
    return _closed(atoms, lattice, first, start, rows, columns, periods[start])


def index_sheet(positions: Float[np.ndarray, "n 3"], symbols: np.ndarray, pair: tuple[str, str]) -> Lattice:
    """Which site of a honeycomb each atom is on, found by walking from metal to metal, whatever the strain."""
    if not np.isfinite(positions).all():
        raise InputError("The sheet has positions that are not finite; correct or leave out those atoms.")
    metal = np.flatnonzero(np.isin(symbols, METALS))
    there = sorted(set(symbols[metal]))
    for name in pair:
        if name not in there:
            raise InputError(
                f"There is no {name} in the sheet, whose metals are {', '.join(there) or 'none'}; allowed two of "
                f"{', '.join(METALS)} that are there; name those, or give another sheet."
            )
    if len(metal) < FEWEST or len(metal) == len(positions):
        raise InputError(
            f"{len(metal)} metals and {len(positions) - len(metal)} chalcogens make no sheet; give the atoms of both, "
            f"of {FEWEST} metals or more."
        )
    angle, constant = orientation(positions[metal], symbols[metal], pair)
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = positions @ np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    primitive = constant * np.array([[np.sqrt(3) / 2, -0.5], [0, 1]])
    index = walk(turned[metal, :2], primitive)
    known = metal[index[:, 0] > -(10**6)]
    index = index[index[:, 0] > -(10**6)]
    sites = np.full((len(positions), 3), [-(10**9), -(10**9), -1])
    sites[known] = np.column_stack([index, np.zeros(len(index), int)])
    other = np.setdiff1d(np.arange(len(positions)), metal)
    near = KDTree(turned[known, :2]).query(turned[other, :2], k=3)[1]
    offsets = (turned[other, None, :2] - turned[known][near][:, :, :2]) @ np.linalg.inv(primitive)
    # A chalcogen one bond to the left of a metal is at (-1/3, 1/3) of the vectors, one to the right at (1/3, 2/3).
    places = {-1: np.array([-1, 1]) / 3, 1: np.array([1, 2]) / 3}
    misfit = {side: np.abs(offsets - place - np.round(offsets - place)).mean() for side, place in places.items()}
    side = min(misfit, key=lambda key: misfit[key])
    cells = np.median(index[near] + np.round(offsets - places[side]), axis=1).astype(int)
    upper = turned[other, 2] > np.mean(turned[known][near][:, :, 2], axis=1)
    sites[other] = np.column_stack([cells, np.where(upper, 1, 2)])
    return Lattice(turned, unshared(sites, turned, index, known, primitive, places[side]), side)


def unshared(sites, positions, index, known, primitive, place) -> Int[np.ndarray, "n 3"]:
    """The sites with each given to the atom that fits it best; others are on none (place -1)."""
    origin = np.median(positions[known, :2] - index @ primitive, axis=0)
    ideal = sites[:, :2] @ primitive + origin + np.where(sites[:, 2:] > 0, place @ primitive, 0.0)
    order = np.argsort(np.linalg.norm(positions[:, :2] - ideal, axis=1))
    taken, result = set(), sites.copy()
    for atom in order.tolist():
        site = tuple(sites[atom].tolist())
        if site in taken or site[2] < 0:
            result[atom, 2] = -1
        taken.add(site)
    return result


def orientation(positions: Float[np.ndarray, "n 3"], symbols: np.ndarray, pair: tuple[str, str]) -> tuple[float, float]:
    """The direction across the interface from the first metal to the second, rad, and the mean lattice constant, Å.

    Raises `InputError` if no direction across zigzag rows parts the two metals.
    """
    xy = positions[:, :2]
    distances, near = map(np.asarray, KDTree(xy).query(xy, k=7))
    constant = float(np.median(distances[:, 1:4]))
    vectors = (xy[near] - xy[:, None])[(distances > 0) & (distances < 1.3 * constant)]
    rows = np.angle(np.mean(np.exp(6j * np.arctan2(vectors[:, 1], vectors[:, 0])))) / 6  # along a zigzag row
    first, second = xy[symbols == pair[0]], xy[symbols == pair[1]]

    def mixed(angle: float) -> float:  # how much of the metals lies on the wrong side of the best line
        direction = np.array([np.cos(angle), np.sin(angle)])
        ahead, behind = first @ direction, second @ direction
        lines = np.sort(np.concatenate([ahead, behind]))
        wrong = len(first) - np.searchsorted(np.sort(ahead), lines) + np.searchsorted(np.sort(behind), lines)
        return float(wrong.min()) / min(len(first), len(second))

    angle = min((float(rows + np.pi / 6 + number * np.pi / 3) for number in range(6)), key=mixed)
    if mixed(angle) > 0.1:
        raise InputError(
            f"No line along a zigzag row parts {pair[0]} from {pair[1]} ({100 * mixed(angle):.0f} % are on the wrong "
            "side); allowed a straight zigzag interface; cut the sheet so that only one is left."
        )
    return angle, constant


def walk(xy: Float[np.ndarray, "m 2"], primitive: Float[np.ndarray, "2 2"]) -> Int[np.ndarray, "m 2"]:
    """The lattice index of each metal, from neighbour to neighbour; -10**9 where the walk did not arrive."""
    tree = KDTree(xy)
    index = np.full((len(xy), 2), -(10**9))
    begin = int(tree.query(xy.mean(axis=0))[1])
    index[begin] = 0
    queue, reach = [begin], 0.35 * np.linalg.norm(primitive[1])
    while queue:
        here = queue.pop(0)
        distances, next_ones = map(np.asarray, tree.query(xy[here] + STEPS @ primitive))
        for step, distance, there in zip(STEPS, distances, next_ones, strict=True):
            if distance < reach and index[there, 0] == -(10**9):
                index[there] = index[here] + step
                queue.append(int(there))
    return index


def refuse_contacts(positions: Float[np.ndarray, "n 3"], within: Bool[np.ndarray, " n"]) -> None:
    """`InputError` if an atom of the strip is nearer than 1 Å to another atom."""
    distances, near = map(np.asarray, KDTree(positions).query(positions[within], k=2))
    if len(distances) and distances[:, 1].min() < TOO_CLOSE:
        worst = int(distances[:, 1].argmin())
        raise InputError(
            f"Atoms {np.flatnonzero(within)[worst]} and {near[worst, 1]} of the sheet are {distances[worst, 1]:.2f} Å "
            f"apart; allowed at least {TOO_CLOSE:g} Å; remove the wrong one."
        )


def boundary(metals: dict, symbols: np.ndarray, pair: tuple[str, str]) -> int:
    """The number of the first row in which the second metal prevails."""
    rows = sorted({i for i, _ in metals})
    share = {i: np.mean([symbols[atom] == pair[1] for (row, _), atom in metals.items() if row == i]) for i in rows}
    return next((i for i in rows if share[i] > 0.5), rows[-1] + 1)


def _complete(metals, first, total, start, columns, pair, symbols, rows) -> bool:
    """Whether all metals of a strip are there, and one more in each row to measure its length by."""
    cells = [(first + r, start + c + (first + r) // 2) for r in range(total) for c in range(columns + 1)]
    return all(cell in metals for cell in cells)


def _periods(lattice, metals, first, total, start, columns) -> Float[np.ndarray, "rows 3"]:
    """From a metal to the one `columns` further along its row, fitted to each row, (rows, 3) in Å."""
    number = np.arange(columns + 1)
    rows = []
    for i in range(first, first + total):
        points = lattice.positions[[metals[i, start + c + i // 2] for c in number]]
        rows.append(columns * np.polyfit(number, points, 1)[0])
    return np.array(rows)


def _closed(atoms, lattice, first, start, rows, columns, periods) -> InterfaceCell:
    """The strip with its tilt taken out, every row at the mean length, and the cell around it."""
    total, sites = sum(rows), lattice.sites
    row, column = sites[:, 0] - first, sites[:, 1] - sites[:, 0] // 2 - start
    within = (sites[:, 0] > -(10**6)) & (row >= 0) & (row < total) & (column >= 0) & (column < columns)
    refuse_contacts(lattice.positions, within)
    inside = np.flatnonzero((sites[:, 2] >= 0) & within)
    row, column, places = row[inside], column[inside], sites[inside, 2]
    positions, length = lattice.positions[inside], periods[:, 1].mean()
    # Taking off what a row's period differs from the common one, in proportion to the way along the row.
    way = (column - np.where((row + first) % 2, 0.5, 0.0) + np.where(places > 0, 0.5, 0.0))[:, None] / columns
    positions = positions - way * (periods[row] - [0.0, length, 0.0])
    centre = np.array([positions[(row == r) & (places == 0)].mean(axis=0) for r in range(total)])
    spacing = np.concatenate([np.diff(centre[: rows[0], 0]), np.diff(centre[rows[0] :, 0])]).mean()
    slope = np.polyfit(np.arange(total), centre, 1)[0]
    positions = positions - row[:, None] * np.array([0.0, slope[1], slope[2]])
    width = centre[-1, 0] - centre[0, 0] + spacing
    cell = np.diag([width, length, 20.0 + np.ptp(positions[:, 2])])
    middle = centre[rows[0] - 1 : rows[0] + 1, 0].mean()
    positions = positions - [centre[0, 0], centre[:, 1].mean() - length / 2, positions[:, 2].mean()]
    return InterfaceCell(
        Crystal(Atoms(positions, atoms.composition[inside], atoms.u2[inside], atoms.species, atoms.species_u2), cell),
        inside,
        np.column_stack([row, column + (row + first) // 2 - first // 2, np.zeros_like(row)]),
        places,
        rectangular_multiples(total, columns),
        positions[:, 0] + centre[0, 0] - middle,
        PLACES * total * columns - len(inside),
        int(within.sum()) - len(inside),
        length / periods[:, 1] - 1,
        float(spacing),
    )
