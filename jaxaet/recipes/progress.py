"""One line that says where a run is."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ProgressLine:
    """A progress line on the terminal, hidden when `quiet`; `log` gets about one message a second either way."""

    def __init__(self, log: Callable[[str], None], quiet: bool = False):
        self._log = log
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True, quiet=quiet),
            transient=True,
            disable=quiet,
        )
        self._task = self._bar.add_task("starting", total=None, numbers="")
        self._bar.start()

    def close(self) -> None:
        """Take the line off the terminal."""
        self._bar.stop()

    def say(self, message: str) -> None:
        """One lasting line on the terminal and in the log."""
        self._bar.console.print(message, highlight=False, markup=False, soft_wrap=True)
        self._log(message)

    def label(self, label: str, total: int | None = None) -> None:
        """Begin something new on the line; its clock starts at zero."""
        self._bar.reset(self._task, total=total, description=label, numbers="")

    @contextmanager
    def steps(self, total: int, label: str) -> Iterator[Callable[..., None]]:
        """Show `total` steps; gives `tick(step, loss=…, r=…)` to call between chunks with any named numbers."""
        self.label(label, total)
        logged = -float("inf")
        text = ""

        def tick(step: int, **numbers) -> None:
            nonlocal logged, text
            shown = "  ".join(f"{name} {float(number):.4g}" for name, number in numbers.items())
            self._bar.update(self._task, completed=step, numbers=shown)
            text = f"{label}: step {step} of {total}  {shown}".rstrip()
            if time.monotonic() - logged >= 1:
                logged = time.monotonic()
                self._log(text)
                text = ""

        try:
            yield tick
        finally:
            if text:
                self._log(text)
