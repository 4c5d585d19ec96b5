"""The blocks of keys of the recipe that turns atoms into phonons."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from jaxaet.recipes.section import LAX, ExistingFile, Section, Symbol, distinct

Count = Annotated[int, Field(ge=1, le=1000)]
Pair = Annotated[tuple[Symbol, Symbol], LAX, AfterValidator(distinct)]


class RefinedAtoms(Section):
    """The measured atoms."""

    atoms: ExistingFile | None = None
    """atoms.extxyz of a run; null takes the paper's heterojunction, every atom displaced by `sigma_pm`."""
    sigma_pm: dict[Symbol, Annotated[float, Field(gt=0, le=500)]] = Field(
        default={"Mo": 4.0, "S": 15.0, "W": 6.0, "Se": 15.0}
    )
    """Rms 3D error of each species, pm, where the file has no error bars; the default is the AET paper's."""


class Supercell(Section):
    """The strip across the interface that is repeated."""

    metals: Pair = ("Mo", "W")
    """The metals on the two sides."""
    rows: Annotated[tuple[Count, Count], LAX] = (6, 6)
    """Zigzag rows of metals on either side; 6, 6 and 4 columns make the 144 atoms of the AET paper."""
    columns: Count = 4
    """Metals in a row."""

    @model_validator(mode="after")
    def rows_repeat(self):
        if sum(self.rows) % 2:
            raise ValueError(
                f"found rows {self.rows}; allowed an even sum, for zigzag rows repeat in pairs; change one."
            )
        return self


class Lattice(Section):
    """How the atoms act on each other."""

    energy: Literal["stillinger_weber", "valence"] = "stillinger_weber"
    """Of the force constants; valence quotes bulk frequencies to 0.6 meV. Always stillinger_weber moves the atoms."""
    hessian: Literal["full", "gauss_newton", "thermal"] = "full"
    """full: second derivatives; gauss_newton: without prestress, none imaginary; thermal: mean over moving atoms."""
    temperature_k: float = Field(default=300.0, gt=0, le=5000)
    """Temperature at which the energy weighs against the error bars, K."""
    thermal_displacement_a: float = Field(default=0.065, gt=0, le=1)
    """Rms displacement along one axis over which `thermal` averages, Å."""


class Spectra(Section):
    """Densities of states, unfolding, localisation."""

    mesh: Annotated[tuple[Count, Count], LAX] = (2, 6)
    """Wave vectors across and along the interface, over the zone of the supercell."""
    width_mev: float = Field(default=1.0, gt=0.01, le=50)
    """Rms broadening, meV."""
    largest_mev: float = Field(default=70.0, gt=1, le=1000)
    """Highest energy shown, meV."""
    path_steps: int = Field(default=24, ge=2, le=1000)
    """Wave vectors on each line of Γ-M-K-Γ."""
    interface_width_a: float = Field(default=3.0, gt=0.1, le=100)
    """Rms width of the weights at the interface, Å; also the half width of the zone whose share is reported."""
    samples: int = Field(default=12, ge=2, le=10_000)
    """Draws of the atoms from their error bars, and of the noise-matched references."""
    looked_for_mev: Annotated[tuple[Annotated[float, Field(gt=0)], ...], LAX] = (17.5, 28.5, 41.5)
    """Peaks to look for in what bulk does not explain, meV; the default is the AET paper's."""
