"""Image to atoms of each layer: networks that separate stacked sheets, and the images that train them."""

from jaxaet.gombnet.losses import (
    DiceLoss as DiceLoss,
    GombLoss as GombLoss,
    PrintedGombLoss as PrintedGombLoss,
    SoftMinimumLoss as SoftMinimumLoss,
    best_orders as best_orders,
    dice_loss as dice_loss,
)
from jaxaet.gombnet.networks import GombNet as GombNet, UNet as UNet, parameter_count as parameter_count
from jaxaet.gombnet.simulate import (
    Sample as Sample,
    Sheet as Sheet,
    Variation as Variation,
    draw as draw,
    graphene_sheet as graphene_sheet,
    standardised as standardised,
    tungsten_sheet as tungsten_sheet,
)
