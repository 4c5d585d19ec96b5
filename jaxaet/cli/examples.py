"""The example configurations that `jaxaet init` copies."""

import json
from pathlib import Path

import jaxaet
from jaxaet.core.errors import InputError
from jaxaet.recipes.config import SCHEMA


def examples_folder() -> Path:
    """Where the examples are: inside an installed package, or beside it in a source tree."""
    package = Path(jaxaet.__file__).parent
    return next(folder for folder in (package / "configs", package.parent / "configs") if folder.is_dir())


def copy_examples(folder: Path) -> list[Path]:
    """Write every example and a JSON schema, by which editors complete and check keys; return the new files.

    Raises `InputError` if one of them exists already.
    """
    source = examples_folder()
    schema = folder / "schema.json"
    copies = {folder / file.relative_to(source): file for file in sorted(source.rglob("*.yaml"))}
    taken = [path for path in (*copies, schema) if path.exists()]
    if taken:
        raise InputError(f"{taken[0]} exists already and nothing is overwritten; give another folder.")
    try:
        for path, file in copies.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            steps_up = "../" * (len(path.relative_to(folder).parts) - 1)
            text = file.read_text(encoding="utf-8")
            path.write_text(f"# yaml-language-server: $schema={steps_up}schema.json\n{text}", encoding="utf-8")
        schema.write_text(json.dumps(SCHEMA.json_schema(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}); give another folder.") from None
    return [*copies, schema]
