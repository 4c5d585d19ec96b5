"""What is wrong with a configuration, in one sentence for each key: what was found, what is allowed, what to do."""

import difflib
import json
import re
from typing import Annotated, Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from jaxaet.recipes.config import RECIPES
from jaxaet.recipes.section import Section, is_section

# Unit suffixes of keys, known and likely: (written, kind, size in a common unit of that kind).
UNITS = {
    "pm": ("pm", "length", 1e-2), "a": ("Å", "length", 1.0), "å": ("Å", "length", 1.0),
    "angstrom": ("Å", "length", 1.0), "nm": ("nm", "length", 10.0), "um": ("µm", "length", 1e4),
    "mev": ("meV", "energy", 1e-3), "ev": ("eV", "energy", 1.0), "kev": ("keV", "energy", 1e3),
    "v": ("V", "energy", 1.0), "kv": ("kV", "energy", 1e3),
    "mrad": ("mrad", "angle", 1.0), "rad": ("rad", "angle", 1e3), "deg": ("degrees", "angle", 17.453292519943295),
    "e_per_a2": ("electrons per Å²", "dose", 1.0), "e_per_nm2": ("electrons per nm²", "dose", 1e-2),
}  # fmt: skip


def problem(error: dict, data: dict) -> tuple[tuple, str]:
    """Where a pydantic error lies (keys and list indices) and the sentence that says so.

    `error`: one entry of `ValidationError.errors()`; `data`: the whole configuration.
    """
    if error["type"].startswith("union_tag"):
        return ("recipe",), sentence(_shown(data, "recipe"), " or ".join(RECIPES), "choose one of them")
    recipe, *location = error["loc"]
    section, path, field = _walk(RECIPES[recipe], location)
    if error["type"] == "extra_forbidden":
        return path, unknown_key(path, error["input"], section, RECIPES[recipe])
    if error["type"] == "value_error":
        return path, str(error["ctx"]["error"])
    if field is None or is_section(field.annotation):
        keys = ", ".join((section if field is None else field.annotation).model_fields)
        return path, sentence(_json(error["input"]), f"a block with the keys {keys}", "write them indented below it")
    allowed = describe(field_schema(field))
    meaning = f" ({field.description[0].lower()}{field.description[1:].rstrip('.')})" if field.description else ""
    if error["type"] == "missing":
        return path, sentence("nothing", allowed, f"add it{meaning}")
    value = _lookup(data, path)
    return path, sentence(_json(value), allowed, _bare_number(str(path[-1]), value) or f"correct it{meaning}")


def sentence(found: str, allowed: str, remedy: str) -> str:
    """The form of every message."""
    return f"found {found}; allowed {allowed}; {remedy}."


def unknown_key(path: tuple, value: Any, section: type[Section], root: type[Section]) -> str:
    """What to say of a key that `section` does not have: the likeliest key that was meant."""
    key, known = str(path[-1]), list(section.model_fields)
    allowed = ", ".join(known)
    base, unit = _split(key.lower())
    twin = next((name for name in known if _split(name)[0] == base and _split(name)[1]), None)
    if twin and _split(twin)[1] != unit:
        found = f"the unit {UNITS[unit][0]}" if unit else "no unit"
        right = _split(twin)[1]
        return sentence(found, f"{twin} in {UNITS[right][0]}", f"write {twin}{_converted(value, unit or right, right)}")
    homes = [name for name, field in root.model_fields.items() if key in getattr(field.annotation, "model_fields", ())]
    if homes:
        return sentence("an unknown key", allowed, f"move it to {' or '.join(homes)}")
    near = difflib.get_close_matches(key.lower(), known, n=1)
    return sentence("an unknown key", allowed, f"did you mean {near[0]}?" if near else "remove it").replace("?.", "?")


def field_schema(field: FieldInfo) -> dict:
    """The JSON schema of one key."""
    annotated: Any = Annotated[field.annotation, field]  # pyright: ignore[reportInvalidTypeForm]
    return TypeAdapter(annotated).json_schema()


def describe(schema: dict) -> str:
    """A JSON schema of one value in words."""
    if "anyOf" in schema:
        return ", or ".join(describe(option) for option in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return " or ".join(str(option) for option in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type")
    if kind in ("number", "integer"):
        return ("a number" if kind == "number" else "a whole number") + _bounds(schema)
    if kind == "array" and "prefixItems" in schema:
        return f"a list of {len(schema['prefixItems'])} items, each {describe(schema['prefixItems'][0])}"
    if kind == "array":
        least = f" of {schema['minItems']} or more" if schema.get("minItems") else ""
        return f"a list{least}, each item {describe(schema['items'])}"
    if kind == "object":
        return f"a block of names, each with {describe(schema['additionalProperties'])}"
    return {"string": f"a {schema.get('format', 'text')}", "boolean": "true or false"}.get(str(kind), str(kind))


def _bounds(schema: dict) -> str:
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "up to", "exclusiveMaximum": "below"}
    steps = f" in steps of {schema['multipleOf']}" if "multipleOf" in schema else ""
    return "".join(f" {word} {schema[name]:.10g}" for name, word in words.items() if name in schema) + steps


def _walk(section: type[Section], location: list) -> tuple[type[Section], tuple, Any]:
    """The innermost block, the path without pydantic's names of union members, and the field (None: no such key)."""
    path = ()
    field: Any = None
    for depth, part in enumerate(location):
        field = section.model_fields.get(part)
        path = (*path, part)
        if field is None or not is_section(field.annotation):
            rest = location[depth + 1 :]
            indices = next((rest[:i] for i, item in enumerate(rest) if not isinstance(item, int)), rest)
            return section, (*path, *indices), field
        if depth < len(location) - 1:
            section = field.annotation
    return section, path, field


def _lookup(data: Any, path: tuple) -> Any:
    for part in path:
        data = data[part]
    return data


def _shown(data: dict, key: str) -> str:
    return _json(data[key]) if key in data else "nothing"


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _split(key: str) -> tuple[str, str]:
    """The name of a key and its unit suffix, the longest that fits."""
    fits = [unit for unit in UNITS if key.endswith(f"_{unit}")]
    unit = max(fits, key=len, default="")
    return (key[: -len(unit) - 1] if unit else key), unit


def _converted(value: Any, unit: str, wanted: str) -> str:
    """The end of "write KEY": the value in the wanted unit where that can be told, else the unit's name."""
    (_, kind, size), (name, wanted_kind, wanted_size) = UNITS[unit], UNITS[wanted]
    if isinstance(value, int | float) and not isinstance(value, bool) and kind == wanted_kind:
        return f": {value * size / wanted_size:.6g}"
    return f" with the value in {name}"


def _bare_number(key: str, value: Any) -> str | None:
    """The remedy for a number given as text with a unit, such as "0.3 nm"; None for anything else."""
    wanted = _split(key)[1]
    match = re.fullmatch(r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(\D*?)\s*", value) if isinstance(value, str) else None
    if not wanted or not match:
        return None
    unit = match[2].lower() if match[2].lower() in UNITS else wanted
    try:
        return f"write {key}{_converted(float(match[1]), unit, wanted)}"
    except ValueError:
        return None
