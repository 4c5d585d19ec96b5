"""Set up and run everything with Python and pip alone: `python3 dev.py run` or `python3 dev.py test`."""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
SCRIPTS = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = SCRIPTS / "python"


def fingerprint() -> str:
    """A digest of what decides the installed packages."""
    decisive = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    return hashlib.sha256(b"".join([sys.version.encode(), str(ROOT).encode(), *decisive])).hexdigest()


def set_up() -> None:
    """Make .venv and install the package with its tools, unless that was done for these very requirements."""
    stamp = VENV / "installed.sha256"
    if stamp.exists() and stamp.read_text() == fingerprint():
        return
    print("Installing jaxaet and its tools into .venv; this takes a minute or two, once.", flush=True)
    venv.create(VENV, with_pip=True, clear=True)
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", "constraints.txt", "--editable", ".[dev]"], cwd=ROOT, check=True)
    stamp.write_text(fingerprint())


def step(command: str, *arguments: str) -> int:
    """Run one command of .venv in the repository and return its exit code."""
    print("$", command, *arguments, flush=True)
    return subprocess.run([SCRIPTS / command, *arguments], cwd=ROOT).returncode


def run(arguments: list[str]) -> int:
    """The main job: the paper's heterojunction, from simulated images to atoms and a report."""
    return step("jaxaet", "run", "configs/heterojunction.yaml", *arguments)


def test(arguments: list[str]) -> int:
    """Style and types, then the tests (rooms and imports among them); pytest comes last and has the last word."""
    failures = [
        step("ruff", "check"),
        step("ruff", "format", "--check"),
        step("basedpyright", "--pythonpath", str(PYTHON)),
    ]
    if any(failures):
        print("A check above failed, so this ends with exit code 1 whatever pytest says.", flush=True)
    # Most of the time is compilation, which uses one core.
    shared = ("--numprocesses=logical", "--maxprocesses=4", "--dist=loadfile")
    return max(step("pytest", *shared, *arguments), *failures)


def main() -> int:
    """The command line: `run` or `test`; what follows goes to `jaxaet run` or to pytest."""
    verbs = {"run": run, "test": test}
    if sys.version_info < (3, 11):
        print(f"jaxaet needs Python 3.11 or newer and this is {sys.version.split()[0]}; call dev.py with a newer one.")
        return 2
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        print("Write `python3 dev.py run` for the main job or `python3 dev.py test` for the tests.")
        return 2
    try:
        set_up()
        return verbs[sys.argv[1]](sys.argv[2:])
    except subprocess.CalledProcessError as error:
        print("pip could not install the packages; its message above says which one and why.")
        return error.returncode
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
