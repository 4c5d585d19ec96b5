"""What values a configuration is made of: blocks of keys, chemical symbols, files, angles."""

import difflib
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

# Hydrogen to lawrencium: the elements whose scattering factors are tabulated.
SYMBOLS = tuple(
    """H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb
    Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg
    Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr""".split()
)


def chemical_symbol(name: str) -> str:
    """The name itself if it is an element's symbol, else a `ValueError` that names the nearest one."""
    if name in SYMBOLS:
        return name
    near = difflib.get_close_matches(name.capitalize(), SYMBOLS, n=1)
    hint = f"did you mean {near[0]}?" if near else "write an element's symbol."
    raise ValueError(f'found "{name}"; allowed chemical symbols from H to Lr; {hint}')


def distinct(values: tuple) -> tuple:
    """The values themselves if no two are equal, else a `ValueError`."""
    if len(set(values)) < len(values):
        raise ValueError(f"found {', '.join(map(str, values))}; allowed each once; remove what is repeated.")
    return values


def existing_file(path: Path) -> Path:
    """The absolute path of a file that exists, else a `ValueError`."""
    path = path.expanduser().absolute()
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no file"
        raise ValueError(f"found {what} at {path}; allowed a file that exists; correct the path.")
    return path


# Scalars are strict, so that "60" or true is no number; a list may stand for a tuple, and text for a path.
LAX = Field(strict=False)
Symbol = Annotated[str, AfterValidator(chemical_symbol), Field(json_schema_extra={"format": "chemical symbol"})]
Species = Annotated[tuple[Symbol, ...], LAX, Field(min_length=1), AfterValidator(distinct)]
ExistingFile = Annotated[Path, LAX, AfterValidator(existing_file), Field(json_schema_extra={"format": "file name"})]
Pixels = Annotated[int, Field(ge=8, le=16384)]
Angle = Annotated[float, Field(ge=-180, le=180)]
Angles = (
    Annotated[tuple[Angle, ...], LAX, Field(min_length=1)]
    | Annotated[tuple[Annotated[tuple[Angle, Angle, Angle], LAX], ...], LAX, Field(min_length=1)]
)


class Section(BaseModel):
    """A block of keys; a block left empty in the file takes all its defaults."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def fill_empty_blocks(cls, block):
        # An absent block counts as an empty one, so that an error names the missing key, not the missing block.
        blocks = [name for name, field in cls.model_fields.items() if is_section(field.annotation)]
        block = {} if block is None else block
        return {**dict.fromkeys(blocks), **block} if isinstance(block, dict) else block


def is_section(annotation) -> bool:
    """Whether a field's annotation is a block of keys."""
    return isinstance(annotation, type) and issubclass(annotation, Section)
