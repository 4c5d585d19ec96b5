"""Image to atoms of each layer: networks that separate stacked sheets, and the images that train them."""

from jaxaet.gombnet.checkpoints import Checkpoints as Checkpoints, Progress as Progress
from jaxaet.gombnet.decode import Columns as Columns, decode as decode
from jaxaet.gombnet.losses import (
    DiceLoss as DiceLoss,
    GombLoss as GombLoss,
    PrintedGombLoss as PrintedGombLoss,
    SoftMinimumLoss as SoftMinimumLoss,
    best_orders as best_orders,
    dice_loss as dice_loss,
)
from jaxaet.gombnet.metrics import (
    AtomScores as AtomScores,
    PixelScores as PixelScores,
    atom_scores as atom_scores,
    pixel_scores as pixel_scores,
)
from jaxaet.gombnet.networks import GombNet as GombNet, UNet as UNet, parameter_count as parameter_count
from jaxaet.gombnet.optimisers import optimiser_named as optimiser_named
from jaxaet.gombnet.predict import Prediction as Prediction, predict as predict, resampled as resampled
from jaxaet.gombnet.scale import apparent_lattice as apparent_lattice
from jaxaet.gombnet.simulate import (
    Sample as Sample,
    Sheet as Sheet,
    Variation as Variation,
    draw as draw,
    graphene_sheet as graphene_sheet,
    standardised as standardised,
    tungsten_sheet as tungsten_sheet,
)
from jaxaet.gombnet.training import (
    Training as Training,
    TrainingState as TrainingState,
    averaged as averaged,
    begin as begin,
)
from jaxaet.gombnet.weights import load_weights as load_weights, save_weights as save_weights
