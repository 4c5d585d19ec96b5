"""From a YAML file and `--set` options to a configuration, and back."""

import difflib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from jaxaet.core.errors import InputError
from jaxaet.recipes.config import SCHEMA, AnyConfig
from jaxaet.recipes.config_errors import problem, sentence


def load_config(path: Path, overrides: Sequence[str] = ()) -> AnyConfig:
    """The configuration of a YAML file, with `key.path=value` overrides put in.

    Raises `InputError` with one line for each thing wrong: `file:line: key: found …; allowed …; do …`.
    """
    node = parse(read_text(path), str(path))
    if not isinstance(node, CommentedMap | None):
        raise InputError(f"{path}:1: " + sentence("no keys", '"key: value" lines', "start with the recipe key"))
    data: dict = plain(node) or {}
    sources = {}
    for text in overrides:
        keys, value = parse_override(text)
        put(data, keys, value, text)
        sources[keys] = text
    try:
        return SCHEMA.validate_python(data)
    except ValidationError as error:
        problems = innermost([problem(dict(entry), data) for entry in error.errors(include_url=False)])
        problems.sort(key=lambda entry: line_of(node, entry[0]))
        lines = [
            f"{place(path, node, sources, keys)}: {f'{dotted(keys)}: ' if keys else ''}{what}"
            for keys, what in problems
        ]
        raise InputError("\n".join(lines)) from None


def dump_config(config: AnyConfig) -> str:
    """The configuration as YAML, every default filled in; `load_config` reads it back unchanged."""
    data = config.model_dump(mode="json")
    stream = io.StringIO()
    YAML().dump({"recipe": data.pop("recipe"), **data}, stream)
    return stream.getvalue()


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """The keys and the value of `key.path=value`; the value is YAML, as in the file."""
    name, equals, value = text.partition("=")
    keys = tuple(key.strip() for key in name.split("."))
    if not equals or not all(keys):
        raise InputError(f"--set {text}: " + sentence(f'"{text}"', "key.path=value", "write it like seed=1"))
    return keys, plain(parse(value, f"--set {text}", one_line=True))


def put(data: dict, keys: tuple[str, ...], value: Any, text: str) -> None:
    """Set one value inside nested dictionaries, making the missing ones."""
    *parents, last = keys
    for depth, key in enumerate(parents):
        data[key] = data.get(key) if data.get(key) is not None else {}
        data = data[key]
        if not isinstance(data, dict):
            inner = dotted(keys[: depth + 1])
            raise InputError(f"--set {text}: " + sentence(f"one value at {inner}", "a block there", f"set {inner}"))
    data[last] = value


def read_text(path: Path) -> str:
    """The text of the file, or an `InputError` that says why there is none."""
    path = Path(path)
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        found = "no such file"
    except IsADirectoryError:
        found = "a folder"
    except UnicodeDecodeError:
        found = "a file that is not text"
    except OSError as error:
        found = f"a file that cannot be read ({error.strerror})"
    candidates = (
        [other.name for other in path.parent.glob("*.y*ml") if other.name != path.name] if path.parent.is_dir() else []
    )
    near = difflib.get_close_matches(path.name, candidates, n=1)
    remedy = f"did you mean {path.parent / near[0]}" if near else "`jaxaet init DIR` writes examples"
    raise InputError(f"{path}: " + sentence(found, "a YAML file", remedy))


def parse(text: str, name: str, one_line: bool = False) -> Any:
    """YAML 1.2 with line numbers; a syntax error or a repeated key is an `InputError`."""
    try:
        return YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        line = "" if one_line or error.problem_mark is None else f":{error.problem_mark.line + 1}"
        what = " ".join(str(error.problem or error.context).split())
        twice = re.match(r'found duplicate key "(.*?)"', what)
        if twice:
            message = f"{twice[1]}: " + sentence("this key twice in a block", "each key once", "remove one of the two")
        else:
            message = sentence(f"a line that is not YAML ({what})", '"key: value"', "correct it or put text in quotes")
        raise InputError(f"{name}{line}: {message}") from None
    except YAMLError as error:
        why = str(error).splitlines()[0]
        raise InputError(f"{name}: " + sentence(f"no YAML ({why})", "a YAML text", "check the file")) from None


def plain(node: Any) -> Any:
    """Python's own types in place of those that carry line numbers."""
    if isinstance(node, dict):
        return {str(key): plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [plain(item) for item in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return None if node is None else str(node)


def innermost(problems: list[tuple[tuple, str]]) -> list[tuple[tuple, str]]:
    """One problem for each place: the first there, and none for a block around another problem's place."""
    first = dict(reversed(problems))
    return [
        (keys, first[keys])
        for keys in dict.fromkeys(keys for keys, _ in problems)
        if not any(len(other) > len(keys) and other[: len(keys)] == keys for other in first)
    ]


def line_of(node: Any, keys: tuple) -> int:
    """The line, counted from 1, that a key stands on; for a missing key the line of its block."""
    line = 0
    for key in keys:
        if not isinstance(node, CommentedMap | CommentedSeq) or key not in (node.lc.data or {}):
            break
        line = (node.lc.key(key) if isinstance(node, CommentedMap) else node.lc.item(key))[0]
        node = node[key]
    return line + 1


def place(path: Path, node: Any, sources: dict[tuple, str], keys: tuple) -> str:
    """The `--set` option, or the file and line, that a key comes from; for a block the last option inside it."""
    for length in range(len(keys), 0, -1):
        if keys[:length] in sources:
            return f"--set {sources[keys[:length]]}"
    inside = [text for key, text in sources.items() if key[: len(keys)] == keys]
    if inside:
        return f"--set {inside[-1]}"
    return f"{path}:{line_of(node, keys)}"


def dotted(keys: tuple) -> str:
    """A key as the user writes it: `specimen.species[1]`."""
    return ".".join(f"{key}" for key in keys if not isinstance(key, int)) + "".join(
        f"[{key + 1}]" for key in keys if isinstance(key, int)
    )
