"""The blocks of keys of the recipes that separate the layers of one image."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from jaxaet.recipes.section import LAX, ExistingFile, Section, existing_file

PixelSize = Annotated[float, Field(ge=0.02, le=0.3)]
Electrons = Annotated[float, Field(ge=1, le=1e6)]
Range = Annotated[tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]], LAX]
Filters = Annotated[tuple[Annotated[int, Field(ge=1, le=2048)], ...], LAX, Field(min_length=2)]
SHIPPED = ("graphene", "ws2")


def known_weights(name: str) -> str:
    """The name of weights that come with the package, or the absolute path of a file that exists."""
    if name in SHIPPED:
        return name
    try:
        return str(existing_file(Path(name)))
    except ValueError as error:
        found = str(error).partition(";")[0]
        raise ValueError(f"{found}; allowed {', '.join(SHIPPED)}, or a file that exists; correct it.") from None


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

    weights: Weights | Annotated[tuple[Weights, ...], LAX, Field(min_length=1)] = "graphene"
    """graphene, ws2 (WS2 in which S gives way to Se), a file that a training wrote, or a list of such to average."""
    copies: int = Field(default=8, ge=1, le=8)
    """Turned and mirrored copies of the image whose answers are averaged."""
    tile: int = Field(default=256, ge=64, le=2048, multiple_of=64)
    """Pixels on each side of the tiles, which overlap by half."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Mean probability in a column's disk from which it counts as found."""


class LayersFit(Section):
    """The fit of all columns to the image, through the forward model."""

    max_steps: int = Field(default=12, ge=0)
    """Steps of the fit; 0 leaves the columns where the network saw them."""
    largest_residual: float = Field(default=2.0, gt=1)
    """What a fit may leave, in units of the image's noise, to be believed."""


class DrawnImages(Section):
    """The images that are drawn for training and for validation, each of a specimen of its own."""

    sheet: Literal["graphene", "ws2"] = "graphene"
    """The crystal of each layer; ws2 is WS2 in which S gives way to Se."""
    layers: int = Field(default=2, ge=1, le=4)
    """Layers on each other."""
    pixels: int = Field(default=256, ge=32, le=1024)
    """Pixels on each side; a multiple of 2 for each level of the network but the first."""
    pixel_size_a: Annotated[tuple[PixelSize, PixelSize], LAX] = (0.07, 0.143)
    """Smallest and largest pixel size, Å."""
    electrons: Annotated[tuple[Electrons, Electrons], LAX] = (10.0, 10000.0)
    """Fewest and most electrons in the brightest pixel; drawn evenly in the logarithm."""
    empty: float = Field(default=0.0, ge=0, lt=1)
    """Share of images without any sheet."""

    @model_validator(mode="after")
    def ranges_rise(self):
        for name in ("pixel_size_a", "electrons"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"found {name} [{low:g}, {high:g}]; allowed the smaller first; exchange them.")
        return self


class NewNetwork(Section):
    """The network that is trained."""

    kind: Literal["gombnet", "unet"] = "gombnet"
    """gombnet: one decoder for each layer; unet: one for all."""
    filters: Filters = (32, 64, 128, 256)
    """Features of each level, each twice the one before."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of the bottleneck's features that a training step drops."""
    arithmetic: Literal["float32", "bfloat16"] = "float32"
    """Of the convolutions; parameters are float32 either way."""

    @model_validator(mode="after")
    def filters_double(self):
        if any(deep != 2 * shallow for shallow, deep in pairwise(self.filters)):
            raise ValueError(
                f"found filters {list(self.filters)}; allowed each twice the one before; write e.g. [32, 64, 128]."
            )
        return self


class TrainingSteps(Section):
    """How it is trained."""

    loss: Literal["soft_minimum", "gomb", "printed_gomb", "dice"] = "soft_minimum"
    """Over all orders of the layers; dice alone takes them in a fixed order."""
    alpha: float = Field(default=1.0, gt=0, le=100)
    """Weight of the outputs in Dice's loss; above 1 it punishes what is not there."""
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    """The optimiser, by Optax."""
    learning_rate: float = Field(default=1e-3, gt=0, le=10)
    """Largest learning rate."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """cosine: falling to a hundredth at the last step."""
    warmup_steps: int = Field(default=100, ge=0)
    """Steps in which the learning rate rises to its largest."""
    average_decay: float = Field(default=0.999, ge=0, lt=1)
    """Of the running average of all numbers, each step; the average is what is kept."""
    batch: int = Field(default=32, ge=1, le=4096)
    """Images of a step."""
    steps: int = Field(default=2600, ge=1, le=1_000_000)
    """Steps of the optimiser."""
    minutes: float | None = Field(default=None, gt=0)
    """Stop after so long even if steps are left, minutes; the numbers then depend on the machine."""
    checkpoint_steps: int = Field(default=250, ge=1)
    """Steps between states on disk, from which a resumed training goes on exactly; never more than five minutes."""
    devices: int | None = Field(default=None, ge=1)
    """Devices that share each batch; null takes all."""
    tensorboard: bool = False
    """Whether to write the curves for TensorBoard as well; needs tensorboardX."""


class HeldBack(Section):
    """Images of specimens that training never sees."""

    images: int = Field(default=16, ge=1, le=10_000)
    """How many."""
    every_steps: int = Field(default=250, ge=1)
    """Steps between looks at them."""


class SearchSpace(Section):
    """What is tried; the default is the paper's space."""

    filters: Annotated[tuple[Filters, ...], LAX, Field(min_length=1)] = (
        (64, 128, 256, 512, 1024),
        (32, 64, 128, 256, 512),
        (32, 64, 128, 256, 512, 1024),
    )
    """Features of each level, each twice the one before; one of these lists for a trial."""
    dropout: Range = (0.1, 0.5)
    """Least and most dropout, evenly."""
    learning_rate: Range = (1e-5, 1e-2)
    """Least and most learning rate, evenly in the logarithm."""
    alpha: Range = (1.0, 5.0)
    """Least and most weight of the outputs in Dice's loss, evenly."""

    @model_validator(mode="after")
    def ranges_rise(self):
        for name in ("dropout", "learning_rate", "alpha"):
            low, high = getattr(self, name)
            if low >= high:
                raise ValueError(f"found {name} [{low:g}, {high:g}]; allowed the smaller first; exchange them.")
        if self.dropout[1] >= 1:
            raise ValueError(f"found dropout up to {self.dropout[1]:g}; allowed below 1; lower it.")
        for filters in self.filters:
            NewNetwork(filters=filters)
        return self


class Search(Section):
    """How the space is searched: Optuna's sampler (TPE), trials stopped early by ASHA, spread by Ray Tune."""

    trials: int = Field(default=50, ge=1, le=100_000)
    """Networks that are tried."""
    together: int = Field(default=1, ge=1, le=10_000)
    """Trials that run at the same time, at most."""
    cpus: float = Field(default=1.0, gt=0, le=1024)
    """CPUs that a trial reserves."""
    gpus: float = Field(default=0.0, ge=0, le=64)
    """GPUs that a trial reserves; 0.5 lets two share one."""
    first_look: int = Field(default=1, ge=1)
    """Looks at the held-back images before a trial may be stopped."""
    reduction: int = Field(default=3, ge=2, le=100)
    """Of so many trials that come equally far one goes on."""
    address: str | None = None
    """Address of a running Ray cluster, whose machines share the run folder; null starts Ray here."""


def check_halving(pixels: int, filters: tuple[int, ...]) -> None:
    """A `ValueError` for images that the levels of a network cannot halve."""
    factor = 2 ** (len(filters) - 1)
    if pixels % factor:
        raise ValueError(
            f"found images.pixels {pixels} with the {len(filters)} levels of filters {list(filters)}; "
            f"allowed multiples of {factor}; change one of them."
        )
