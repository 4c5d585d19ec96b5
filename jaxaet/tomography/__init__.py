"""Tilt series → volume → first atoms."""

from jaxaet.tomography.classify import classify as classify, species_weights as species_weights
from jaxaet.tomography.genfire import Genfire as Genfire
from jaxaet.tomography.missing import elongation as elongation, missing_atoms as missing_atoms
from jaxaet.tomography.real_space import Deblurring as Deblurring, Resire as Resire, back_project as back_project
from jaxaet.tomography.reconstruct import reconstruct as reconstruct, voxels as voxels
from jaxaet.tomography.shells import fourier_shell_correlation as fourier_shell_correlation
from jaxaet.tomography.trace import keep_apart as keep_apart, merge_close as merge_close, trace as trace
from jaxaet.tomography.windows import Windows as Windows, scanned as scanned
