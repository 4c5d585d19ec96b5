"""The commands. Heavy packages are imported inside them, so `--help` and `validate` answer at once."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

import jaxaet

app = typer.Typer(
    name="jaxaet",
    help="Atomic electron tomography with one differentiable forward model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file; `jaxaet init DIR` writes examples.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key, such as data.path=FILE; may be repeated."),
]


@contextmanager
def sentences() -> Iterator[None]:
    """Bad input ends the command with a sentence and exit code 2; anything else is a bug and keeps its traceback."""
    from jaxaet.core.errors import InputError

    try:
        yield
    except InputError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


def show_version(wanted: bool) -> bool:
    """Print the version and end, if wanted."""
    if wanted:
        typer.echo(f"jaxaet {jaxaet.__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Atomic electron tomography with one differentiable forward model."""


@app.command()
def run(
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG", help="A YAML file.")] = None,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The folder to write; by default the next runs/NAME-N.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="DIR", help="Go on with the stopped run in DIR.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress; DIR/run.log keeps it.")] = False,
) -> None:
    """Run a recipe and write its run folder."""
    with sentences():
        settings, path = chosen_run(config, overrides or [], out, resume)
        recipe = loaded_recipe(settings)
        from jaxaet.recipes.run_folder import RunFolder

        try:
            with RunFolder.create(path, settings, resume=resume is not None, quiet=quiet) as folder:
                folder.finish(recipe.run(settings, folder))
        except KeyboardInterrupt:
            typer.echo(f"Stopped; `jaxaet run --resume {path}` goes on after the last finished stage.", err=True)
            raise typer.Exit(130) from None
    typer.echo(f"Results in {path}")


@app.command()
def validate(config: ConfigFile, overrides: Overrides = None) -> None:
    """Check a configuration and name everything that is wrong with it."""
    with sentences():
        from jaxaet.recipes.config_file import load_config

        recipe = load_config(config, overrides or []).recipe
    typer.echo(f"{config} is a valid configuration of the recipe {recipe}.")


@app.command()
def plan(config: ConfigFile, overrides: Overrides = None) -> None:
    """Print shapes, memory and estimated time of a run without running it."""
    with sentences():
        from jaxaet.recipes.config_file import load_config

        settings = load_config(config, overrides or [])
        planned = loaded_recipe(settings).plan(settings)
    rows = flat(planned)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        typer.echo(f"{name:<{width}}  {value}")
    from jaxaet.cli.doctor import memory_gb

    if planned.get("peak_memory_gb", 0) > memory_gb():
        typer.echo(f"Warning: that is more memory than the {memory_gb():.3g} GB of this machine.")


@app.command()
def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to put the examples.")]) -> None:
    """Copy the commented example configurations into a folder."""
    with sentences():
        from jaxaet.cli.examples import copy_examples

        for path in copy_examples(folder):
            typer.echo(path)


@app.command()
def doctor() -> None:
    """Print what this installation consists of: versions, devices, caches, optional packages."""
    from jaxaet.cli.doctor import findings

    for name, value in findings():
        typer.echo(f"{name:<20}{value}")


def chosen_run(config: Path | None, overrides: list[str], out: Path | None, resume: Path | None):
    """The configuration and the folder that the options of `run` ask for."""
    from jaxaet.core.errors import InputError
    from jaxaet.recipes.config_file import load_config

    if resume is not None:
        if config or overrides or out:
            raise InputError("--resume takes the folder alone; leave out CONFIG, --set and --out.")
        from jaxaet.recipes.run_folder import saved_config

        return saved_config(resume), resume
    if config is None:
        raise InputError("Nothing to run was named; give a CONFIG, or --resume DIR; `jaxaet init DIR` writes examples.")
    settings = load_config(config, overrides)
    from jaxaet.recipes.run_folder import next_free

    return settings, out or next_free(config.stem)


def loaded_recipe(settings):
    """The module of the recipe, imported after JAX has been told the precision."""
    from jaxaet.cli.jax_setup import prepare

    prepare(settings.precision)
    return importlib.import_module(f"jaxaet.recipes.{settings.recipe}")


def flat(tree: dict, prefix: str = "") -> list[tuple[str, object]]:
    """Nested dictionaries as (dotted name, value) rows."""
    rows = []
    for name, value in tree.items():
        rows += flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return rows
