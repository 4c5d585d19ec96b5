"""Atoms that explain the data: problems, likelihoods, solvers, error bars, angle calibration."""

from jaxaet.inverse.angles import Calibration as Calibration, calibrate_angles as calibrate_angles
from jaxaet.inverse.background import Smooth as Smooth
from jaxaet.inverse.dense import DenseGaussNewton as DenseGaussNewton
from jaxaet.inverse.dynamic import (
    DefectCorrection as DefectCorrection,
    GridScan as GridScan,
    JointGradients as JointGradients,
    TrueGradients as TrueGradients,
    mimicked as mimicked,
    refine as refine,
)
from jaxaet.inverse.first_order import FirstOrder as FirstOrder
from jaxaet.inverse.fisher import fisher as fisher, isolated_bound as isolated_bound
from jaxaet.inverse.gauss_newton import GaussNewton as GaussNewton
from jaxaet.inverse.likelihood import Gaussian as Gaussian, Poisson as Poisson
from jaxaet.inverse.linearised import Linearised as Linearised
from jaxaet.inverse.matching import match_sheet as match_sheet
from jaxaet.inverse.peaks import find_peaks as find_peaks, fit_peaks as fit_peaks
from jaxaet.inverse.preconditioner import LARGEST as LARGEST
from jaxaet.inverse.problem import Model as Model, Problem as Problem
from jaxaet.inverse.relax import Measurement as Measurement, Relaxed as Relaxed, relax as relax
from jaxaet.inverse.rfactors import r1_factor as r1_factor, r_factor as r_factor
from jaxaet.inverse.simulator import Simulator as Simulator
from jaxaet.inverse.solve import Solution as Solution, solve as solve
from jaxaet.inverse.valence import fit_valence as fit_valence
from jaxaet.inverse.vibration import find_vibration as find_vibration
from jaxaet.inverse.window import windowed as windowed
