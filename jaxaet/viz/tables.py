"""Nested numbers as tables a person reads."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

UNITS = {
    "percent": "%",
    "pm": "pm",
    "a": "Å",
    "a2": "Å²",
    "nm": "nm",
    "deg": "°",
    "rad": "rad",
    "mrad": "mrad",
    "ev": "eV",
    "mev": "meV",
    "kev": "keV",
    "s": "s",
    "seconds": "s",
    "mb": "MB",
    "gb": "GB",
    "e_per_a2": "e/Å²",
    "ev_per_a": "eV/Å",
    "ev_per_a2": "eV/Å²",
    "per_mev_and_atom": "1/meV/atom",
}
NAMES = {
    "cramer_rao": "Cramér-Rao bound",
    "cramer_rao_xyz": "Cramér-Rao bound along x, y, z",
    "r": "R factor",
    "r1": "R1 factor",
    "r_of_counting": "R factor of counting noise alone",
    "r1_of_counting": "R1 factor of counting noise alone",
}
MOST_ITEMS = 24


class Table(NamedTuple):
    """A title, the heads of the value columns (empty for a plain list) and rows of a label and its values."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]


def tables(values: Mapping, title: str = "") -> list[Table]:
    """All of a nested mapping: its numbers as a list, blocks with the same keys side by side, other blocks after."""
    blocks = {key: block for key, block in values.items() if isinstance(block, Mapping)}
    rows = [(label(key), [text(value)]) for key, value in values.items() if key not in blocks]
    found = [Table(title, [], rows)] if rows else []
    for group in _alike(blocks):
        first = values[group[0]]
        if len(group) > 1:
            rows = [(label(key), [text(values[key][column]) for column in first]) for key in group]
            found.append(Table(title, [label(column) for column in first], rows))
        else:
            found.extend(tables(first, f"{title}: {label(group[0])}" if title else label(group[0])))
    return found


def _alike(blocks: Mapping) -> list[list]:
    """The keys of the blocks, those that hold the same keys of plain values together."""
    groups: dict = {}
    for key, block in blocks.items():
        nested = any(isinstance(value, Mapping) for value in block.values())
        groups.setdefault((key,) if nested else frozenset(block), []).append(key)
    return list(groups.values())


def label(key: object) -> str:
    """A key in words: `rmsd_pm` becomes `rmsd (pm)`."""
    words = str(key)
    for suffix in sorted(UNITS, key=len, reverse=True):
        if words.endswith("_" + suffix):
            return f"{_name(words.removesuffix('_' + suffix))} ({UNITS[suffix]})"
    return _name(words)


def _name(words: str) -> str:
    return NAMES.get(words, words.replace("_", " "))


def text(value: object) -> str:
    """A value in words: numbers to four digits, of a long list the first few items and its length."""
    if isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__array__"):
        value = np.asarray(value).tolist()
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e7 else f"{value:.4g}".replace("-", "−")
    if isinstance(value, (list, tuple)):
        more = f", … ({len(value)} in all)" if len(value) > MOST_ITEMS else ""
        return ", ".join(text(item) for item in value[:MOST_ITEMS]) + more
    return str(value)
