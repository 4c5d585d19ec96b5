"""What a configuration may say: one typed model for each recipe.

Nothing heavy is imported here, so `jaxaet validate` answers at once.
"""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, model_validator

from jaxaet.recipes.blocks import (
    Background,
    CalibrationFromScratch,
    Data,
    DynamicRefinement,
    DynamicStage,
    FramesData,
    HeterojunctionSpecimen,
    Instrument,
    MultisliceModel,
    PaperInstrument,
    PartOfHeterojunction,
    RawInstrument,
    Reconstruction,
    RecordedFrames,
    Refinement,
    RefinementOverContamination,
    Restoration,
    SeriesCalibration,
    SheetSpecimen,
    SimulatedInstrument,
    Specimen,
    StillMultislice,
    Tracing,
    TracingSheet,
    Vibration,
    VibrationCorrection,
)
from jaxaet.recipes.gombnet_blocks import (
    DrawnImage,
    DrawnImages,
    HeldBack,
    LayeredImage,
    LayersFit,
    NewNetwork,
    Search,
    SearchSpace,
    TrainedNetwork,
    TrainingSteps,
    check_halving,
)
from jaxaet.recipes.phonon_blocks import Lattice, RefinedAtoms, Spectra, Supercell
from jaxaet.recipes.section import Section


class Common(Section):
    """The keys of every recipe that are not in a block."""

    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of all randomness."""
    precision: Literal["float32", "float64"] = "float32"
    """Floating-point precision of the whole run."""


class Solving(Common):
    """The keys of every recipe that ends in atoms, that are not in a block."""

    error_bars: bool = True
    """Whether to compute the standard deviation of every coordinate."""


class HeterojunctionConfig(Solving):
    """Simulate the AET paper's experiment, solve it without the answer, and score it against the truth."""

    recipe: Literal["heterojunction"] = "heterojunction"
    specimen: HeterojunctionSpecimen = HeterojunctionSpecimen()
    instrument: SimulatedInstrument = SimulatedInstrument()
    calibration: CalibrationFromScratch = CalibrationFromScratch()
    reconstruction: Reconstruction = Reconstruction()
    tracing: TracingSheet = TracingSheet()
    refinement: Refinement = Refinement()
    dynamic: DynamicStage = DynamicStage()


class TiltSeriesConfig(Solving):
    """Turn a measured tilt series into atoms."""

    recipe: Literal["tilt_series"] = "tilt_series"
    data: Data
    specimen: Specimen
    instrument: Instrument = Instrument()
    calibration: SeriesCalibration = SeriesCalibration()
    reconstruction: Reconstruction = Reconstruction()
    tracing: Tracing = Tracing()
    refinement: Refinement = Refinement()
    dynamic: DynamicStage = DynamicStage()


class SimulationConfig(Common):
    """Make the raw frames of the AET paper's experiment by multislice, and keep the truth apart from them."""

    recipe: Literal["simulation"] = "simulation"
    specimen: HeterojunctionSpecimen = HeterojunctionSpecimen()
    instrument: RawInstrument = RawInstrument()
    vibration: Vibration = Vibration()
    frames: RecordedFrames = RecordedFrames()
    background: Background = Background()
    multislice: MultisliceModel = MultisliceModel()


class DynamicConfig(Common):
    """Simulate the AET paper's series by multislice, fit it linearly, and refine it dynamically."""

    recipe: Literal["dynamic"] = "dynamic"
    error_bars: bool = True
    """Whether to compare with the Cramér-Rao bound."""
    noise: bool = True
    """Whether the images are counted (Poisson); without noise only the models differ."""
    specimen: PartOfHeterojunction = PartOfHeterojunction()
    instrument: SimulatedInstrument = SimulatedInstrument()
    multislice: StillMultislice = StillMultislice()
    refinement: DynamicRefinement = DynamicRefinement()


class RawFramesConfig(Solving):
    """Turn the raw frames of a thin sheet's tilt series into atoms."""

    recipe: Literal["raw_frames"] = "raw_frames"
    data: FramesData
    specimen: SheetSpecimen = SheetSpecimen()
    instrument: PaperInstrument = PaperInstrument()
    restoration: Restoration = Restoration()
    calibration: CalibrationFromScratch = CalibrationFromScratch()
    reconstruction: Reconstruction = Reconstruction()
    tracing: TracingSheet = TracingSheet()
    vibration: VibrationCorrection = VibrationCorrection()
    refinement: RefinementOverContamination = RefinementOverContamination()
    dynamic: DynamicStage = DynamicStage()


class PhononsInterfaceConfig(Common):
    """Phonons of a measured interface, beside bulk with the same strain and noise."""

    recipe: Literal["phonons_interface"] = "phonons_interface"
    precision: Literal["float32", "float64"] = "float64"
    """Floating-point precision of the whole run; phonons need float64."""
    data: RefinedAtoms = RefinedAtoms()
    supercell: Supercell = Supercell()
    lattice: Lattice = Lattice()
    spectra: Spectra = Spectra()


class GombNetApplyConfig(Common):
    """Find the atoms of each layer in one image of stacked sheets."""

    recipe: Literal["gombnet_apply"] = "gombnet_apply"
    data: LayeredImage = LayeredImage()
    drawn: DrawnImage = DrawnImage()
    network: TrainedNetwork = TrainedNetwork()
    fit: LayersFit = LayersFit()


class GombNetTraining(Common):
    """The keys of a training."""

    images: DrawnImages = DrawnImages()
    network: NewNetwork = NewNetwork()
    training: TrainingSteps = TrainingSteps()
    held_back: HeldBack = HeldBack()


class GombNetTrainConfig(GombNetTraining):
    """Train a network that separates the layers of stacked sheets, on images drawn as they are needed."""

    recipe: Literal["gombnet_train"] = "gombnet_train"

    @model_validator(mode="after")
    def levels_halve_the_images(self):
        check_halving(self.images.pixels, self.network.filters)
        return self


class GombNetTuneConfig(GombNetTraining):
    """Search for the network and the training that separate held-back images best."""

    recipe: Literal["gombnet_tune"] = "gombnet_tune"
    space: SearchSpace = SearchSpace()
    search: Search = Search()

    @model_validator(mode="after")
    def levels_halve_the_images(self):
        for filters in self.space.filters:
            check_halving(self.images.pixels, filters)
        return self


Config = HeterojunctionConfig | TiltSeriesConfig | RawFramesConfig  # of the recipes that end in atoms
AnyConfig = (
    Config
    | SimulationConfig
    | DynamicConfig
    | PhononsInterfaceConfig
    | GombNetApplyConfig
    | GombNetTrainConfig
    | GombNetTuneConfig
)
RECIPES = {
    "heterojunction": HeterojunctionConfig,
    "tilt_series": TiltSeriesConfig,
    "simulation": SimulationConfig,
    "dynamic": DynamicConfig,
    "raw_frames": RawFramesConfig,
    "phonons_interface": PhononsInterfaceConfig,
    "gombnet_apply": GombNetApplyConfig,
    "gombnet_train": GombNetTrainConfig,
    "gombnet_tune": GombNetTuneConfig,
}
SCHEMA = TypeAdapter(Annotated[AnyConfig, Field(discriminator="recipe")])
