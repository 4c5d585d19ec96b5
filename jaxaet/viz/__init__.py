"""Figures and the report. The only room that knows matplotlib and plotly."""

from jaxaet.viz.atoms import (
    atoms_figure as atoms_figure,
    error_bar_map as error_bar_map,
    error_figure as error_figure,
)
from jaxaet.viz.images import (
    before_after_figure as before_after_figure,
    tilt_series_figure as tilt_series_figure,
    volume_figure as volume_figure,
)
from jaxaet.viz.layers import (
    labels_figure as labels_figure,
    layers_figure as layers_figure,
    search_figure as search_figure,
    training_figure as training_figure,
)
from jaxaet.viz.moire import bonds_figure as bonds_figure, moire_figure as moire_figure
from jaxaet.viz.phonons import (
    controls_figure as controls_figure,
    displacements_figure as displacements_figure,
    interface_figure as interface_figure,
    unfolded_figure as unfolded_figure,
)
from jaxaet.viz.progress import angles_figure as angles_figure, convergence_figure as convergence_figure
from jaxaet.viz.report import write_report as write_report
from jaxaet.viz.save import save_figure as save_figure
from jaxaet.viz.view import atoms_view as atoms_view
