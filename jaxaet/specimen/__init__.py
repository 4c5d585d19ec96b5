"""What is there: atoms, and builders of ideal specimens with known answers."""

from jaxaet.specimen.atoms import Atoms as Atoms
