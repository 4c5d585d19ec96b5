"""The folder of one run: what went in, what came out, and enough to go on after a kill."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TextIO
from zipfile import BadZipFile

import numpy as np

from jaxaet.core.errors import InputError
from jaxaet.recipes.config import AnyConfig
from jaxaet.recipes.config_file import dump_config, load_config
from jaxaet.recipes.progress import ProgressLine
from jaxaet.recipes.provenance import environment, peak_memory_mb

OWN_FILES = ("config.yaml", "provenance.json", "run.log")


def next_free(name: str) -> Path:
    """The first of `runs/NAME-1`, `runs/NAME-2`, … that does not exist."""
    number = 1
    while (path := Path("runs") / f"{name}-{number}").exists():
        number += 1
    return path


def holds_run(path: Path) -> bool:
    """Whether `jaxaet run` wrote the folder."""
    return all((Path(path) / name).is_file() for name in OWN_FILES)


def saved_config(path: Path) -> AnyConfig:
    """The configuration of a run folder; `InputError` if the folder holds no run."""
    if not holds_run(path):
        raise InputError(f"{path} holds no run to resume; allowed a folder that `jaxaet run` wrote; correct the path.")
    return load_config(Path(path) / "config.yaml")


class RunFolder:
    """The files of one run, each written whole or not at all, by one process at a time.

    Make it with `create` and use it in a `with` block. A run that ends in an `InputError` before its first
    checkpoint leaves nothing behind; any other exception is written to `run.log` with its traceback.
    """

    def __init__(self, path: Path, config: AnyConfig, log: TextIO, quiet: bool, made: list[Path] | None):
        self.path = path
        self._made = made
        self.config = config
        self._log_file = log
        self._logger = logging.Logger("jaxaet")
        handler = logging.StreamHandler(log)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self._logger.addHandler(handler)
        self._line = ProgressLine(self._logger.info, quiet)
        self._stages: list[str] = []
        self._provenance: dict = {}
        self._warnings: list[str] = []

    @classmethod
    def create(cls, path: Path, config: AnyConfig, resume: bool = False, quiet: bool = False) -> "RunFolder":
        """Begin a run in a folder that is new or empty, or go on with the one it holds.

        Raises `InputError` if the folder is not empty (without `resume`), holds another configuration (with
        `resume`), cannot be written, or is in use by another process.
        """
        path = Path(path)
        provenance = begun(path, config) if resume else {}
        if not resume and path.exists() and not (path.is_dir() and not any(path.iterdir())):
            resuming = f", or go on with a stopped run by `jaxaet run --resume {path}`" if holds_run(path) else ""
            raise InputError(
                f"{path} exists already and nothing is overwritten; allowed a new or empty folder; "
                f"give another --out{resuming}."
            )
        made = [folder for folder in (path, *path.parents) if not folder.exists()]
        try:
            path.mkdir(parents=True, exist_ok=True)
            log = open(path / "run.log", mode="a" if resume else "x", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror}); give another --out.") from None
        lock(log, path)
        folder = cls(path, config, log, quiet, None if resume else made)
        if not resume:
            folder.write_text("config.yaml", dump_config(config))
        folder._provenance = {**environment(config.precision), **identity(config), "stage_seconds": {}, **provenance}
        folder.save_provenance(finished=False)
        return folder

    def stage(self, name: str, function: Callable[[], dict]) -> dict:
        """Do one part of the run, or take its result from the checkpoint.

        `function()` returns a flat dictionary of arrays, numbers and texts; what comes back holds NumPy arrays,
        and Python numbers and texts for anything of no dimension, the same on the first run as on a resumed one.
        """
        if name in self._stages:
            raise ValueError(f"The stage {name} has been used already.")
        self._stages.append(name)
        file = f"checkpoints/{len(self._stages):02d}_{name}.npz"
        if (self.path / file).exists():
            self._line.say(f"{name}: from the checkpoint")
            return read_arrays(self.path / file)
        self._line.label(name)
        start = time.perf_counter()
        arrays: dict[str, Any] = {key: np.asarray(value) for key, value in function().items()}
        odd = [key for key, value in arrays.items() if value.dtype.hasobject]
        if odd:
            raise TypeError(f"The stage {name} returned {odd}, which are neither arrays, numbers nor texts.")
        with self.writing(file) as part:
            np.savez(part, **arrays)
        seconds = time.perf_counter() - start
        self._provenance["stage_seconds"][name] = round(seconds, 3)
        self.save_provenance(finished=False)
        self._line.say(f"{name}: {seconds:.1f} s")
        return {key: unwrapped(value) for key, value in arrays.items()}

    def progress(self, total: int, label: str) -> AbstractContextManager[Callable[..., None]]:
        """Show `total` steps on the progress line: `with folder.progress(200, "fit") as tick: tick(10, loss=3.1)`."""
        return self._line.steps(total, label)

    def log(self, message: str) -> None:
        """Write one line to `run.log` only."""
        self._logger.info(message)

    @property
    def stage_seconds(self) -> dict[str, float]:
        """The wall time of each stage so far, s."""
        return dict(self._provenance["stage_seconds"])

    def with_warnings(self, metrics: dict) -> dict:
        """The metrics, and what was warned of so far, if anything."""
        return metrics | ({"warnings": list(self._warnings)} if self._warnings else {})

    def warn(self, sentences: Iterable[str]) -> None:
        """Show each sentence now, and in `metrics.json` at the end."""
        for sentence in sentences:
            self._line.say(f"Warning: {sentence}")
            self._warnings.append(sentence)

    def finish(self, metrics: dict) -> None:
        """Write `metrics.json`, with all warnings if there were any, and mark the run as finished."""
        self.write_json("metrics.json", self.with_warnings(metrics))
        self.save_provenance(finished=True)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A path to write to, with the right suffix, that becomes the file `name` only if the block ends well."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.stem}.part{target.suffix}")
        try:
            yield part
            with open(part, "rb") as stream:
                os.fsync(stream.fileno())
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file, whole or not at all."""
        with self.writing(name) as part:
            part.write_text(text, encoding="utf-8")

    def write_json(self, name: str, data: dict) -> None:
        """Write a JSON file, whole or not at all; arrays become lists, and numbers that are not finite null."""
        self.write_text(name, json.dumps(jsonable(data), indent=2, ensure_ascii=False) + "\n")

    def save_provenance(self, finished: bool) -> None:
        """Write `provenance.json` as it stands."""
        peak = max(peak_memory_mb(), self._provenance.get("peak_memory_mb", 0.0))
        self._provenance |= {"peak_memory_mb": peak, "finished": finished}
        self.write_json("provenance.json", self._provenance)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if error is not None:
            self._logger.error("the run ended early", exc_info=error)
        self.close()
        if self._made is not None and isinstance(error, InputError) and not any(self.path.glob("checkpoints/*.npz")):
            self._remove_own_files()

    def close(self) -> None:
        """Take the progress line away and let other processes write here."""
        self._line.close()
        self._log_file.close()

    def _remove_own_files(self) -> None:
        for name in OWN_FILES:
            (self.path / name).unlink(missing_ok=True)
        for folder in (self.path / "checkpoints", *(self._made or [])):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def identity(config: AnyConfig) -> dict:
    """What tells one run from another."""
    known = {"recipe": config.recipe, "seed": config.seed}
    known["config_sha256"] = hashlib.sha256(dump_config(config).encode()).hexdigest()
    block = getattr(config, "data", None)
    data = getattr(block, "path", None) or getattr(block, "atoms", None)
    if data is not None:
        known["data_sha256"] = hashlib.sha256(data.read_bytes()).hexdigest()
    return known


def begun(path: Path, config: AnyConfig) -> dict:
    """What an earlier process has noted of this very run; `InputError` if the folder holds another one."""
    try:
        provenance = json.loads((path / "provenance.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} holds no run to resume ({error}); correct the path or start anew.") from None
    now = identity(config)
    if provenance.get("data_sha256") != now.get("data_sha256"):
        raise InputError("The data file is not the one that the run began with; restore the file or begin a new run.")
    if provenance.get("config_sha256") != now["config_sha256"]:
        raise InputError(
            f"{path / 'config.yaml'} is not what the run began with (edited, or written by another version of jaxaet); "
            "allowed the unchanged file; restore it, or start a new run from it with `jaxaet run` and another --out."
        )
    return {name: provenance[name] for name in ("stage_seconds", "peak_memory_mb", "started")}


def lock(log: TextIO, path: Path) -> None:
    """Keep other processes out of the folder until this one ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows has no flock; there the folder is guarded by its emptiness alone
        return
    try:
        fcntl.flock(log.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.close()
        raise InputError(f"{path} is in use by another process; wait until it ends or give another --out.") from None


def read_arrays(path: Path) -> dict:
    """The contents of a checkpoint; `InputError` if the file is damaged."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {key: unwrapped(file[key]) for key in file.files}
    except (BadZipFile, ValueError, EOFError, OSError) as error:
        raise InputError(f"The checkpoint {path} cannot be read ({error}); delete it and resume again.") from None


def unwrapped(array: np.ndarray) -> Any:
    """The array, or the Python value of one without dimensions."""
    return array.item() if array.ndim == 0 else array


def jsonable(value: Any) -> Any:
    """The value with only what JSON knows."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    return None if isinstance(value, float) and not np.isfinite(value) else value
