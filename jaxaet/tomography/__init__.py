"""Tilt series → volume → first atoms."""

from jaxaet.tomography.classify import classify as classify, species_weights as species_weights
from jaxaet.tomography.missing import elongation as elongation, missing_atoms as missing_atoms
from jaxaet.tomography.reconstruct import back_project as back_project, reconstruct as reconstruct
from jaxaet.tomography.trace import keep_apart as keep_apart, merge_close as merge_close, trace as trace
