"""The blocks of keys of which the configurations are made."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from jaxaet.recipes.section import LAX, Angles, ExistingFile, Pixels, Section, Species, distinct


class Data(Section):
    """The measured tilt series."""

    path: ExistingFile
    """The tilt series: .npz, .h5, .mat, .mrc, .tif, .dm3, .dm4, .emd, .ndata, .hspy; relative to the working folder."""
    pixel_size_a: float | None = Field(default=None, gt=0.001, le=100)
    """Pixel size, Å; null takes it from the file."""
    angles_deg: Angles | None = None
    """Nominal angle of each image, degrees: a list of tilts about Y or of [Z, Y, X]; null takes them from the file."""
    likelihood: Literal["auto", "poisson", "gaussian"] = "auto"
    """Noise of the images; auto takes poisson if they look like electron counts."""


class FramesData(Section):
    """The frames as they were recorded."""

    path: ExistingFile
    """An array (image, frame, row, column) in .npz, .h5, .mat or another format; relative to the working folder."""
    pixel_size_a: float | None = Field(default=None, gt=0.001, le=100)
    """Pixel size, Å; null takes it from the file."""
    angles_deg: Angles | None = None
    """Nominal angle of each image, degrees: a list of tilts about Y or of [Z, Y, X]; null takes them from the file."""
    truth: ExistingFile | None = None
    """The file truth.h5 that a simulation keeps apart, for the score alone; atoms.extxyz lies beside it."""


class Specimen(Section):
    """What the specimen is made of."""

    species: Species
    """Chemical symbols of the elements in the specimen, such as [Fe, Pt]."""


class SheetSpecimen(Specimen):
    """What the specimen is made of."""

    species: Species = ("Mo", "S", "W", "Se")
    """Chemical symbols of the elements in the specimen, such as [Mo, S]."""


class HeterojunctionSpecimen(Section):
    """The simulated heterojunction."""

    preset: Literal["paper"] = "paper"
    """paper: the census of the AET paper: 488 Mo, 991 S, 150 W, 257 Se and 16 vacancies."""
    interface: Literal["zigzag", "armchair"] = "zigzag"
    """Direction of the interface."""


class Instrument(Section):
    """The microscope; on measured data it only sets the starting shape of an atom's image."""

    energy_kev: float = Field(default=200.0, ge=1, le=3000)
    """Beam energy, keV."""
    semi_angle_mrad: float = Field(default=25.0, gt=0, le=200)
    """Convergence semi-angle, mrad."""
    source_size_a: float = Field(default=0.3, ge=0, le=10)
    """Rms width of the effective source along one axis, Å."""
    detector_inner_mrad: float = Field(default=40.0, gt=0, le=1000)
    """Inner collection semi-angle of the annular detector, mrad."""
    detector_outer_mrad: float = Field(default=200.0, gt=0, le=1000)
    """Outer collection semi-angle, mrad."""

    @model_validator(mode="after")
    def ring_is_open(self):
        inner, outer = self.detector_inner_mrad, self.detector_outer_mrad
        if inner >= outer:
            raise ValueError(
                f"found detector_inner_mrad {inner:g} and detector_outer_mrad {outer:g}; "
                "allowed an inner angle below the outer one; exchange or correct them."
            )
        return self


class PaperInstrument(Instrument):
    """The microscope of the AET paper."""

    energy_kev: float = Field(default=60.0, ge=1, le=3000)
    """Beam energy, keV."""
    semi_angle_mrad: float = Field(default=38.0, gt=0, le=200)
    """Convergence semi-angle, mrad."""
    source_size_a: float = Field(default=0.7, ge=0, le=10)
    """Rms width of the effective source along one axis, Å."""
    detector_inner_mrad: float = Field(default=50.0, gt=0, le=1000)
    """Inner collection semi-angle of the annular detector, mrad."""
    detector_outer_mrad: float = Field(default=210.0, gt=0, le=1000)
    """Outer collection semi-angle, mrad."""
    dose_e_per_a2: float = Field(default=3.8e5, gt=0, le=1e12)
    """Dose of the whole tilt series, electrons per Å²."""


class SimulatedInstrument(PaperInstrument):
    """The microscope of the AET paper."""

    pixel_size_a: float = Field(default=0.32, gt=0.001, le=100)
    """Pixel size, Å."""
    image_pixels: Annotated[tuple[Pixels, Pixels], LAX] = (288, 288)
    """Rows and columns of each image."""
    background_counts: float = Field(default=2.0, ge=0, le=1e9)
    """Mean background of every pixel, electrons."""


class RawInstrument(SimulatedInstrument):
    """The microscope of the AET paper, with images as large as it took them."""

    image_pixels: Annotated[tuple[Pixels, Pixels], LAX] = (512, 512)
    """Rows and columns of each image."""


class Vibration(Section):
    """How the free-standing sheet moves during the exposure."""

    amplitude_a: float = Field(default=0.5, ge=0, le=10)
    """Amplitude of its oscillation along its own normal, Å; each image sees what its tilt projects of it."""
    width_a: float = Field(default=0.1, ge=0, le=10)
    """Rms width of what is not harmonic in it, along the same line in each image, Å."""


class RecordedFrames(Section):
    """How the frames of each image are recorded."""

    frames: int = Field(default=10, ge=1, le=1000)
    """Frames of each image, which share its dose."""
    drift_a_per_frame: float = Field(default=0.2, ge=0, le=100)
    """Drift of the specimen from one frame to the next, Å, in a random direction in each image."""
    line_jitter_a: float = Field(default=0.02, ge=0, le=10)
    """Rms displacement of each scan line along each axis, Å."""
    readout_counts: float = Field(default=0.3, ge=0, le=1e6)
    """Rms read-out noise of each pixel of each frame, electrons."""


class Background(Section):
    """What lies under the specimen, beside the uniform background of the instrument."""

    contamination_counts: float = Field(default=3.0, ge=0, le=1e9)
    """Mean signal of the contamination in every pixel of the sum of an image's frames, electrons."""
    correlation_a: float = Field(default=20.0, gt=0.01, le=1e5)
    """Distance over which the contamination changes, Å."""


class MultisliceModel(Section):
    """The multislice model that makes the images."""

    snapshots: int = Field(default=4, ge=0, le=1000)
    """Frozen-phonon snapshots of the moving atoms; 0 takes their mean potential, without thermal diffuse scattering."""
    stride: float = Field(default=1.5, ge=0.1, le=10)
    """Distance of the computed scan points in pixels; the source blurs more than lies between them."""
    spacing_a: float = Field(default=2.0, gt=0.05, le=100)
    """Typical distance of the planes of atoms, Å."""
    margin_a: float = Field(default=4.5, gt=0, le=100)
    """From the probes of a block to the edge of their cell, Å."""


class StillMultislice(MultisliceModel):
    """The multislice model that makes and explains the images."""

    snapshots: int = Field(default=0, ge=0, le=1000)
    """Frozen-phonon snapshots of the moving atoms; 0 takes their mean potential, without thermal diffuse scattering."""
    spacing_a: float = Field(default=4.0, gt=0.05, le=100)
    """Typical distance of the planes of atoms, Å."""
    margin_a: float = Field(default=3.5, gt=0, le=100)
    """From the probes of a block to the edge of their cell, Å."""


class PartOfHeterojunction(HeterojunctionSpecimen):
    """The simulated heterojunction, or the middle of it."""

    radius_a: float | None = Field(default=None, gt=2, le=1000)
    """Only the atoms so near the middle, Å; null takes all."""


class DynamicRefinement(Section):
    """From the linear model's coordinates to those that multislice explains."""

    method: Literal["defect_correction", "true_gradients", "grid_scan"] = "defect_correction"
    """Rounds of the linear model corrected by multislice; multislice's own gradient; the AET paper's scan of a grid."""
    rounds: int = Field(default=4, ge=1, le=1000)
    """Series of images of defect_correction, or gradient steps for each atom."""
    joint_rounds: int = Field(default=0, ge=0, le=1000)
    """Then, rounds with multislice's own gradient for all atoms together, each of some eighty series of images."""
    window_pixels: int = Field(default=16, ge=8, le=1000)
    """Side of the window around an atom that true_gradients and grid_scan compare."""
    atoms: (
        Annotated[tuple[Annotated[int, Field(ge=0)], ...], LAX, Field(min_length=1), AfterValidator(distinct)] | None
    ) = None
    """Indices of the atoms that true_gradients and grid_scan move; null takes all."""


class Restoration(Section):
    """From frames to the images in which peaks and a first volume are found; fits take the sum of the frames."""

    stages: Annotated[tuple[Literal["drift", "denoise", "background"], ...], LAX, AfterValidator(distinct)] = (
        "drift",
        "denoise",
    )
    """Any of drift, denoise and background, in the order in which they are done; drift can only be the first."""
    denoise: Literal["block_matching", "nl_means", "wavelet"] = "block_matching"
    """The filter; the noise is made equal everywhere before it."""
    readout_counts: float | None = Field(default=None, ge=0, le=1e6)
    """Rms read-out noise of a pixel of a frame that counts electrons; null takes it, and the gain, from the frames."""
    hollow_distance_a: float = Field(default=1.6, gt=0.1, le=100)
    """Within which a local minimum is the lowest place, Å: half the distance of the lattice's hollow sites."""

    @model_validator(mode="after")
    def frames_come_first(self):
        if "drift" in self.stages[1:]:
            raise ValueError(
                f"found the stages {', '.join(self.stages)}; allowed drift as the first, for it alone takes frames; "
                "move it to the front."
            )
        return self


class VibrationCorrection(Section):
    """What to do about the vibration of the sheet."""

    correction: Literal["forward", "deconvolution", "none"] = "forward"
    """Kept in the forward model, taken out of the images by Richardson-Lucy, or none."""
    width_a: float = Field(default=0.1, ge=0, le=10)
    """Rms width of what is not harmonic in it, Å; the images do not tell it from the amplitude."""


class Calibration(Section):
    """What to believe about the tilt angles."""

    angles: Literal["fixed", "refine", "from_scratch"] = "refine"
    """fixed: exact; refine: right to a few degrees; from_scratch: up to 30° off, found from the images."""


class SeriesCalibration(Calibration):
    """What to believe about the tilt angles, and where the images lie."""

    alignment: Literal["none", "centre_of_mass", "common_line"] = "none"
    """none: the images are aligned; centre_of_mass, common_line: of a specimen that ends inside every image."""


class CalibrationFromScratch(Calibration):
    """What to believe about the tilt angles."""

    angles: Literal["fixed", "refine", "from_scratch"] = "from_scratch"
    """fixed: exact; refine: right to a few degrees; from_scratch: up to 30° off, found from the images."""


class Reconstruction(Section):
    """The first volume."""

    method: Literal["deblurring", "genfire", "resire"] = "deblurring"
    """Least squares with the width of an atom in it; GENFIRE's Fourier iteration; RESIRE's gradient descent."""
    window_voxels: int | None = Field(default=None, ge=8, le=640, multiple_of=4)
    """Side of the windows in which a wide, thin specimen is scanned by half a window; null takes it as a whole."""
    voxel_a: float = Field(default=0.5, ge=0.05, le=10)
    """Voxel size, Å."""
    iterations: int = Field(default=100, ge=1, le=100_000)
    """Steps of the reconstruction."""
    thickness_a: float | None = Field(default=None, gt=0, le=1e5)
    """Thickness of the volume along the beam, Å; null chooses it from the images."""


class Tracing(Section):
    """From the volume to atoms."""

    min_distance_a: float = Field(default=1.9, ge=0.1, le=100)
    """No two atoms are closer than this, Å."""
    rounds: int = Field(default=6, ge=1, le=100)
    """Times that missing atoms are added and spurious ones removed."""
    min_weight: float = Field(default=0.3, ge=0, le=1)
    """Weakest peak that counts as an atom, as a fraction of a typical one."""


class TracingSheet(Tracing):
    """From the volume to atoms."""

    min_distance_a: float = Field(default=1.6, ge=0.1, le=100)
    """No two atoms are closer than this, Å."""
    rounds: int = Field(default=8, ge=1, le=100)
    """Times that missing atoms are added and spurious ones removed."""
    min_weight: float = Field(default=0.5, ge=0, le=1)
    """Weakest peak that counts as an atom, as a fraction of a typical one."""


class Refinement(Section):
    """From first atoms to final coordinates."""

    max_steps: int = Field(default=10, ge=1, le=100_000)
    """Most steps of the solver."""
    tolerance: float = Field(default=0.03, gt=0, le=10)
    """Stop when the rms step is below this many standard errors."""
    u2: Literal["shared", "per_species", "per_atom"] = "per_species"
    """Which atoms share one mean-square displacement."""
    background_a: float | None = Field(default=None, gt=0.5, le=1e4)
    """Rms width over which the background under the specimen hardly changes, Å; null takes it as uniform."""
    max_atoms: int = Field(default=100_000, ge=1)
    """More traced atoms than this end the run with an error: a sign of too small a `tracing.min_distance_a`."""


class RefinementOverContamination(Refinement):
    """From first atoms to final coordinates."""

    background_a: float | None = Field(default=6.0, gt=0.5, le=1e4)
    """Rms width over which the background under the specimen hardly changes, Å; null takes it as uniform."""


class DynamicStage(Section):
    """After the linear refinement, one by multislice, for atoms that stand behind each other."""

    rounds: int = Field(default=0, ge=0, le=1000)
    """Series of multislice images, each followed by a refit; 0 leaves the stage out."""
    fitted_images: int = Field(default=3, ge=0, le=1000)
    """Images to which the semi-angle, source size, defocus and inner detector angle are fitted first; 0 keeps them."""
    stride: float = Field(default=2.0, ge=0.1, le=10)
    """Distance of the computed scan points in pixels, at most; less where the source does not blur so much."""
    spacing_a: float = Field(default=3.0, gt=0.05, le=100)
    """Typical distance of the planes of atoms, Å."""
    margin_a: float = Field(default=3.5, gt=0, le=100)
    """From the probes of a block to the edge of their cell, Å."""
