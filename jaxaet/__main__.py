"""`python -m jaxaet` is `jaxaet`."""

from jaxaet.cli.main import app

if __name__ == "__main__":
    app(prog_name="jaxaet")
