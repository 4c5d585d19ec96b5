"""The blocks of keys of the recipes that separate the layers of one image."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from jaxaet.recipes.section import ExistingFile, Section, existing_file

SHIPPED = ("graphene", "ws2")


def known_weights(name: str) -> str:
    """The name of weights that come with the package, or the absolute path of a file that exists."""
    return name if name in SHIPPED else str(existing_file(Path(name)))


Weights = Annotated[
    str, AfterValidator(known_weights), Field(json_schema_extra={"format": "file name, or graphene or ws2"})
]


class LayeredImage(Section):
    """The image."""

    path: ExistingFile | None = None
    """.npz, .npy, .h5, .mat, .mrc, .tif, .png, .dm3, .dm4, .emd, .ndata or .hspy; null draws one with known atoms."""
    key: str | None = None
    """Name of the array, or title of the signal, where the file holds several images."""
    pixel_size_a: float | None = Field(default=None, gt=0.001, le=100)
    """Pixel size, Å; null takes it from the file."""


class DrawnImage(Section):
    """The image that is drawn where none is given; twist, strain, probe, scan and what lies around are random."""

    pixels: int = Field(default=256, ge=64, le=2048)
    """Pixels on each side."""
    pixel_size_a: float = Field(default=0.106, ge=0.02, le=0.3)
    """Pixel size, Å."""
    electrons: float = Field(default=300.0, ge=1, le=1e6)
    """Mean number of electrons in the brightest pixel."""


class TrainedNetwork(Section):
    """The network, and how its answer is read."""

    weights: Weights = "graphene"
    """graphene, ws2 (WS2 in which S gives way to Se), or a file that a training wrote."""
    copies: int = Field(default=8, ge=1, le=8)
    """Turned and mirrored copies of the image whose answers are averaged."""
    tile: int = Field(default=256, ge=64, le=2048, multiple_of=64)
    """Pixels on each side of the tiles, which overlap by half."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Mean probability in a column's disk from which it counts as found."""
