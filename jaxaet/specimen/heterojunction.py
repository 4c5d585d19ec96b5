"""The MoS2-WSe2 lateral heterojunction of the AET paper: the ideal specimen with its known defects."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, PRNGKeyArray
from scipy.spatial import KDTree

from jaxaet.core import InputError
from jaxaet.specimen.atoms import Atoms
from jaxaet.specimen.crystals import DICHALCOGENIDES, THERMAL_U2, honeycomb
from jaxaet.specimen.defects import with_ripple
from jaxaet.specimen.generator import host_generator

SPECIES = ("Mo", "S", "W", "Se")
MO, S, W, SE, VACANT = 0, 1, 2, 3, 4

# How the AET paper's census comes about: 488 Mo, 150 W, 991 S, 257 Se and 16 vacancies, of which 9 at the interface, as
# are 38 S and 8 Se (main text); 2 Se in MoS2 (fig. S2). Counted are the metals Mo, W; the columns of two chalcogens
# with only Mo, with both, with only W for neighbours; and what is missing in these, within 5 Å of the interface and
# beyond.
PAPER_METALS = (488, 150)
PAPER_COLUMNS = (481, 26, 125)
PAPER_VACANCIES_AT_INTERFACE = (2, 6, 1)
PAPER_VACANCIES_ELSEWHERE = (5, 0, 2)
PAPER_BRIDGING_SE, PAPER_STRAYED_SE = 8, 2

AT_INTERFACE = 5.0  # Å, half the width of the strip that counts as the interface
CLOSE = 15.0  # Å, how far Se strays into MoS2


class Sheet(NamedTuple):
    """A flat junction before it is cut: the interface along y at x = 0, MoS2 on its left, WSe2 on its right.

    `metal`: (n, 2) in Å. `chalcogen`: (m, 2) in Å, columns of one atom above the metal plane and one below it.
    `tungsten`: (m,) how many of a column's three metal neighbours are W; 1 and 2 bridge the interface. `half`: (m,)
    height of the upper atom in Å.
    """

    metal: Float[np.ndarray, "n 2"]
    chalcogen: Float[np.ndarray, "m 2"]
    tungsten: Int[np.ndarray, " m"]
    half: Float[np.ndarray, " m"]


def lateral_heterojunction(
    interface: str = "zigzag",
    size: float = 75.0,
    offset: float = 15.0,
    mismatch: float = 0.0553,
    relaxation: float = 20.0,
    ripple_amplitude: float = 1.5,
    ripple_wavelength: float = 50.0,
    ripple_decay: float = 15.0,
    intermixing: float = 8 / 46,
    substitutions: int = 2,
    vacancies: int = 16,
    vacancies_at_interface: int = 9,
    disorder: float = 0.0,
    *,
    key: PRNGKeyArray,
) -> Atoms:
    """An octagon of MoS2 (x < `offset`) grown coherently onto WSe2, centred at the origin; species Mo, S, W, Se.

    `interface`: which crystal direction lies along it (y), "zigzag" or "armchair". `size`: distance of opposite edges,
    Å. `mismatch`: by how much WSe2's own lattice constant exceeds that of MoS2. Both sides meet at the mean of the two
    and approach their own within about `relaxation` Å (`strained`); there are no misfit dislocations.
    `ripple_amplitude`, `ripple_wavelength`: Å, along the interface, largest on its WSe2 side and falling off as a
    Gaussian of rms width `ripple_decay` Å across it. `intermixing`: fraction of Se among the chalcogens that bridge Mo
    and W. `substitutions`: how many Se replace S in MoS2 within 15 Å. `vacancies`: missing chalcogens, of which
    `vacancies_at_interface` within 5 Å of it. `disorder`: rms static displacement along each axis, Å.
    The defaults follow the AET paper. `u2` is thermal, of each element at room temperature.
    Raises `InputError` for another interface and for more defects than places.
    """
    generator = host_generator(key)
    sheet = cut(flat_sheet(interface, mismatch, relaxation, abs(offset) + 0.6 * size), size / 2, (-offset, 0.0))
    kinds, near, close = sites(sheet)
    changes = [
        (near, vacancies_at_interface, VACANT),
        (~near, vacancies - vacancies_at_interface, VACANT),
        (kinds[1], round(intermixing * kinds[1].sum()), SE),
        (kinds[0] & close, substitutions, SE),
    ]
    ripple = (ripple_amplitude, ripple_wavelength, ripple_decay)
    return build(sheet, occupy(kinds, changes, generator), offset, ripple, disorder, generator)


def paper_heterojunction(key: PRNGKeyArray, interface: str = "zigzag") -> Atoms:
    """The junction with exactly the AET paper's census: 488 Mo, 991 S, 150 W, 257 Se and 16 chalcogen vacancies.

    38 S and 8 Se bridge Mo and W, 2 Se sit in MoS2 and 9 vacancies within 5 Å of the interface, as in the paper; `key`
    draws which. The octagon measures 83 Å between opposite edges, for so many atoms need it. Its edge is set for each
    kind of site so that the numbers come out (`paper_cut`): of the 1276 chalcogens that belong to 638 metals, 12 fall
    outside.
    Raises `InputError` for an interface other than "zigzag" and "armchair".
    """
    generator = host_generator(key)
    sheet, offset = paper_cut(flat_sheet(interface, 0.0553, 20.0, 75.0))
    kinds, near, close = sites(sheet)
    changes = [(kind & near, count, VACANT) for kind, count in zip(kinds, PAPER_VACANCIES_AT_INTERFACE, strict=True)]
    changes += [(kind & ~near, count, VACANT) for kind, count in zip(kinds, PAPER_VACANCIES_ELSEWHERE, strict=True)]
    changes += [(kinds[1], PAPER_BRIDGING_SE, SE), (kinds[0] & close, PAPER_STRAYED_SE, SE)]
    return build(sheet, occupy(kinds, changes, generator), offset, (1.5, 50.0, 15.0), 0.0, generator)


def flat_sheet(interface: str, mismatch: float, relaxation: float, reach: float) -> Sheet:
    """A coherent junction that covers at least `reach` Å around the middle of its interface.

    Raises `InputError` for an interface other than "zigzag" and "armchair" and for a `relaxation` of 0 or less.
    """
    if interface not in ("zigzag", "armchair"):
        raise InputError(f"The interface {interface!r} is not known; choose zigzag or armchair.")
    if relaxation <= 0:
        raise InputError(f"A relaxation length of {relaxation:g} Å is not possible; give a positive one.")
    (_, _, constant, half), (_, _, _, half_selenide) = DICHALCOGENIDES["MoS2"], DICHALCOGENIDES["WSe2"]
    metal, chalcogen = honeycomb(reach / constant / (1 + min(mismatch, 0.0)))
    if interface == "zigzag":
        shift = np.sqrt(3) / 4  # midway between two zigzag rows
    else:
        metal, chalcogen = metal[:, ::-1] * [1, -1], chalcogen[:, ::-1] * [1, -1]
        shift = 0.25  # midway between two planes of metals
    metal, chalcogen = metal + np.array([shift, 0]), chalcogen + np.array([shift, 0])
    neighbours = KDTree(metal).query(chalcogen, k=3)[1]
    tungsten = np.sum(metal[neighbours, 0] > 0, axis=1)
    share = selenide_share(chalcogen[:, 0], relaxation / constant)
    strain = (constant, mismatch * constant, relaxation / constant)
    return Sheet(
        strained(metal, *strain), strained(chalcogen, *strain), tungsten, half + share * (half_selenide - half)
    )


def selenide_share(x: Float[np.ndarray, " m"], relaxation: float) -> Float[np.ndarray, " m"]:
    """How far the local lattice is WSe2's: 0 deep in MoS2, 1/2 at the interface, 1 deep in WSe2."""
    return (1 + np.sign(x) * (1 - np.exp(-np.abs(x) / relaxation))) / 2


def strained(
    points: Float[np.ndarray, "m 2"], constant: float, excess: float, relaxation: float
) -> Float[np.ndarray, "m 2"]:
    """Points in lattice constants stretched to Å by the local lattice constant a(x) = `constant` + share(x) `excess`.

    y -> a(x) y, x -> the integral of a from 0 to x: both in-plane strains are tensile in MoS2 and compressive in WSe2,
    as in the paper's fig. 2D.
    """
    x, y = points.T
    local = constant + excess * selenide_share(x, relaxation)
    eased = np.abs(x) - relaxation * (1 - np.exp(-np.abs(x) / relaxation))
    return np.stack([(constant + excess / 2) * x + excess / 2 * eased, local * y], axis=1)


def apothem(points: Float[np.ndarray, "m 2"], centre: tuple[float, float]) -> Float[np.ndarray, " m"]:
    """Half the edge-to-edge distance, Å, of the regular octagon around `centre` through each point."""
    x, y = np.abs(points - centre).T
    return np.max([x, y, (x + y) / np.sqrt(2)], axis=0)


def cut(sheet: Sheet, half_size: float, centre: tuple[float, float]) -> Sheet:
    """The metals and columns inside an octagon."""
    inside = apothem(sheet.chalcogen, centre) <= half_size
    return Sheet(
        sheet.metal[apothem(sheet.metal, centre) <= half_size],
        sheet.chalcogen[inside], sheet.tungsten[inside], sheet.half[inside],
    )  # fmt: skip


def paper_cut(sheet: Sheet) -> tuple[Sheet, float]:
    """The paper's number of metals and columns of each kind, those innermost, and how far the centre is from x = 0, Å.

    The centre lies where the outermost Mo and the outermost W are equally far out; the edges of the five kinds of sites
    then agree within 1 Å at a zigzag interface.
    """
    is_tungsten = sheet.metal[:, 0] > 0

    def metals(offset: float) -> list[Int[np.ndarray, " m"]]:
        pairs = zip((~is_tungsten, is_tungsten), PAPER_METALS, strict=True)
        return [innermost(sheet.metal, (-offset, 0.0), side, count) for side, count in pairs]

    def unevenness(offset: float) -> float:
        outermost = np.array([sheet.metal[inside[-1]] for inside in metals(offset)])
        return abs(np.subtract(*apothem(outermost, (-offset, 0.0))))

    offset = float(min(np.linspace(10.0, 25.0, 301), key=unevenness))
    kinds = (sheet.tungsten == 0, (sheet.tungsten == 1) | (sheet.tungsten == 2), sheet.tungsten == 3)
    pairs = zip(kinds, PAPER_COLUMNS, strict=True)
    inside = np.concatenate([innermost(sheet.chalcogen, (-offset, 0.0), kind, count) for kind, count in pairs])
    metal = sheet.metal[np.concatenate(metals(offset))]
    return Sheet(metal, sheet.chalcogen[inside], sheet.tungsten[inside], sheet.half[inside]), offset


def innermost(
    points: Float[np.ndarray, "m 2"], centre: tuple[float, float], among: Bool[np.ndarray, " m"], count: int
) -> Int[np.ndarray, " count"]:
    """The indices of the `count` points nearest to `centre`, by octagons and on the same octagon by distance."""
    order = np.lexsort((np.hypot(*(points - centre).T), apothem(points, centre).round(6)))
    return order[among[order]][:count]


def sites(sheet: Sheet) -> tuple[Bool[np.ndarray, "3 n"], Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """The chalcogen sites, upper ones first: which are next to Mo alone, bridge Mo and W, or are next to W alone; which
    lie at the interface; which lie close to it."""
    tungsten, distance = np.tile(sheet.tungsten, 2), np.abs(np.tile(sheet.chalcogen[:, 0], 2))
    kinds = np.stack([tungsten == 0, (tungsten == 1) | (tungsten == 2), tungsten == 3])
    return kinds, distance <= AT_INTERFACE, distance <= CLOSE


def occupy(
    kinds: Bool[np.ndarray, "3 n"], changes: list[tuple[Bool[np.ndarray, " n"], int, int]], generator
) -> Int[np.ndarray, " n"]:
    """The occupant of each chalcogen site: S next to any Mo (W-S bonds are favoured), Se elsewhere, then the changes.

    Each change (where, count, occupant) takes `count` random sites that none before it took.
    Raises `InputError` when too few are left.
    """
    occupants = np.where(kinds[2], SE, S)
    untouched = np.ones(len(occupants), dtype=bool)
    for where, count, occupant in changes:
        free = np.flatnonzero(where & untouched)
        if not 0 <= count <= len(free):
            raise InputError(f"{count} defects were asked of {len(free)} sites; give 0 to {len(free)}.")
        chosen = generator.choice(free, count, replace=False)
        occupants[chosen], untouched[chosen] = occupant, False
    return occupants


def build(
    sheet: Sheet,
    occupants: Int[np.ndarray, " n"],
    offset: float,
    ripple: tuple[float, float, float],
    disorder,
    generator,
) -> Atoms:
    """Atoms of a sheet: rippled, with the octagon's centre at the origin, vacancies left out."""
    amplitude, wavelength, decay = ripple
    columns = np.concatenate([sheet.metal, sheet.chalcogen, sheet.chalcogen])
    heights = np.concatenate([np.zeros(len(sheet.metal)), sheet.half, -sheet.half])
    labels = np.concatenate([np.where(sheet.metal[:, 0] > 0, W, MO), occupants])
    positions = np.column_stack([columns, heights])[labels != VACANT]
    symbols = np.array(SPECIES)[labels[labels != VACANT]]
    atoms = Atoms.from_symbols(positions, symbols, [THERMAL_U2[symbol] for symbol in symbols], SPECIES)
    # A valley in the middle of the interface, as in the paper's fig. 2A.
    atoms = with_ripple(atoms, -amplitude, wavelength, direction=np.pi / 2, ridge=AT_INTERFACE, decay=decay)
    moves = disorder * generator.normal(size=atoms.positions.shape) + np.array([offset, 0, 0])
    return eqx.tree_at(lambda a: a.positions, atoms, atoms.positions + jnp.asarray(moves))
