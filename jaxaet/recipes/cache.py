"""What takes minutes and depends on a few settings, kept for the next run in the user's cache folder."""

import hashlib
import json
import os
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

import jaxaet

PHYSICS = ("core", "specimen", "instrument", "forward")


def user_cache() -> Path:
    """Where the package keeps what it can make again."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "jaxaet"


def fingerprint(settings: dict) -> str:
    """The sha256 of settings and of the programs that turn them into images."""
    return hashlib.sha256(json.dumps([settings, programs()], sort_keys=True).encode()).hexdigest()


@cache
def programs() -> tuple[str, ...]:
    """The versions of the package and of JAX, and the sha256 of the source of the forward models as first seen."""
    digest, package = hashlib.sha256(), Path(jaxaet.__file__).parent
    for file in sorted(file for room in PHYSICS for file in (package / room).iterdir() if file.is_file()):
        digest.update(file.name.encode() + file.read_bytes())
    return jaxaet.__version__, version("jax"), digest.hexdigest()


def load_array(path: Path) -> np.ndarray | None:
    """The array of a file, or None if there is none that can be read."""
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None


def store_array(path: Path, array: np.ndarray) -> None:
    """Write an array, whole or not at all; where nothing can be written, nothing is kept."""
    part = path.with_name(f".{path.stem}.{os.getpid()}.npy")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            np.save(part, array)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
