"""What this installation consists of."""

import os
import platform
from collections.abc import Iterator

import jaxaet
from jaxaet.cli.jax_setup import cache_folder, writable
from jaxaet.recipes.provenance import PACKAGES, installed

OPTIONAL = {
    "rosettasciio": "reads .dm3, .dm4, .emd and .hspy",
    "abtem": "compares with other multislice",
    "tensorboardX": "writes curves of a training",
    "ray": "spreads a search of hyper-parameters",
    "optuna": "chooses what the search tries",
}


def findings() -> Iterator[tuple[str, str]]:
    """Name and state of everything a run may need."""
    yield "jaxaet", jaxaet.__version__
    yield "python", platform.python_version()
    yield "system", platform.platform()
    for package in PACKAGES:
        yield package, installed(package) or "MISSING; install jaxaet again"
    yield "memory", f"{memory_gb():.3g} GB"
    yield from devices()
    state = "writable" if writable(cache_folder()) else "NOT writable: every run compiles anew"
    yield "compilation cache", f"{cache_folder()} ({state})"
    for package, use in OPTIONAL.items():
        yield package, f"{installed(package) or 'not installed'} (optional; {use})"


def memory_gb() -> float:
    """The memory of this machine, infinite where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):
        return float("inf")


def devices() -> Iterator[tuple[str, str]]:
    """The devices JAX finds, and the precision it starts with."""
    try:
        import jax

        for device in jax.devices():
            yield f"device {device.id}", f"{device.platform}: {device.device_kind}"
    except (ImportError, RuntimeError) as error:
        yield "device", f"NONE; JAX does not start: {error}"
        return
    yield "precision", "float32, or float64 with `precision: float64` in the configuration"
