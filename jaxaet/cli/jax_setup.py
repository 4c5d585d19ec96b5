"""How the command line sets JAX up; the library itself never does."""

import os
import tempfile
from pathlib import Path

from jaxaet.recipes.cache import user_cache


def prepare(precision: str) -> None:
    """Choose the precision, "float32" or "float64", and keep compiled programs for the next run."""
    # XLA reports each program it reads from the cache as an error, which it is not.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import jax

    jax.config.update("jax_enable_x64", precision == "float64")
    folder = cache_folder()
    chosen = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if chosen is None and writable(folder):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def cache_folder() -> Path:
    """Where compiled programs are kept."""
    return user_cache() / "jax"


def writable(folder: Path) -> bool:
    """Whether files can be made in the folder, which is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
