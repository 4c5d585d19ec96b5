"""With what a run was made."""

import datetime
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jaxaet

FORMAT_VERSION = 1
PACKAGES = ("jax", "jaxlib", "numpy", "equinox", "optax")


def installed(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def environment(precision: str) -> dict:
    """Versions, device, dtype and time, for `provenance.json`."""
    import jax

    device = jax.devices()[0]
    return {
        "format_version": FORMAT_VERSION,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {
            "jaxaet": jaxaet.__version__,
            "python": platform.python_version(),
            **{package: installed(package) for package in PACKAGES},
        },
        "platform": platform.platform(),
        "device": f"{device.platform}: {device.device_kind}",
        "dtype": precision,
        "git_commit": git_commit(Path(jaxaet.__file__).parents[1]),
    }


def git_commit(root: Path) -> str | None:
    """The commit of the source tree at `root`, marked if files have changed since; None outside a checkout."""
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def peak_memory_mb() -> float:
    """The most memory this process has held so far, MB (1e6 bytes); 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
