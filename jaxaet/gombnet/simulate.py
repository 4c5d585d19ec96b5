"""Images of stacked sheets with known atoms, drawn by key: the specimen, the microscope and the noise all vary."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

PAD = 16  # pixels beside the image whose atoms reach into it


class Sheet(eqx.Module):
    """One layer's crystal as the network sees it from above.

    `lattice`: constant of the hexagonal cell, Å. `sites`: (k, 2) columns in units of the cell vectors.
    `brightness`: (k, 3), dimensionless, of a column whose two substitutable atoms are replaced 0, 1 or 2 times.
    `membership`: (k, 3, c), dimensionless, 1 where such a column belongs to a class, else 0. `radius`: of a labelled
    disk, Å. `expansion`: relative growth of the lattice when all is substituted. `classes`: their names. `reach`: cells
    on each side of the origin.
    """

    lattice: Float[Array, ""]
    sites: Float[Array, "k 2"]
    brightness: Float[Array, "k 3"]
    membership: Float[Array, "k 3 c"]
    radius: Float[Array, ""]
    expansion: Float[Array, ""]
    classes: tuple[str, ...] = eqx.field(static=True)
    reach: int = eqx.field(static=True)


def graphene_sheet() -> Sheet:
    """Graphene: a = 2.46 Å, one class."""
    ones = jnp.ones((2, 3))
    return Sheet(
        jnp.array(2.46), jnp.array([[1 / 3, 2 / 3], [2 / 3, 1 / 3]]), ones, ones[..., None],
        jnp.array(0.39), jnp.array(0.0), ("C",), 15,
    )  # fmt: skip


def tungsten_sheet() -> Sheet:
    """WS2 in which S gives way to Se: a = 3.1907 Å; classes S, Se, W, and a column S + Se belongs to the first two.

    Brightness goes with the atomic number to the power of 1.7, relative to W. The lattice grows with the share of Se by
    Vegard's law, to WSe2's (W. J. Schutte et al., J. Solid State Chem. 70, 207, 1987: 3.282 Å against 3.153 Å).
    """
    sulphur, selenium, tungsten = 16**1.7, 34**1.7, 74**1.7
    chalcogens = [2 * sulphur, sulphur + selenium, 2 * selenium]
    brightness = jnp.array([[tungsten] * 3, chalcogens]) / tungsten
    membership = jnp.array([[[0, 0, 1]] * 3, [[1, 0, 0], [1, 1, 0], [0, 1, 0]]], dtype=float)
    sites = jnp.array([[1 / 3, 2 / 3], [2 / 3, 1 / 3]])
    lattice, radius, expansion = jnp.array(3.1907), jnp.array(0.45), jnp.array(0.041)
    return Sheet(lattice, sites, brightness, membership, radius, expansion, ("S", "Se", "W"), 12)


class Variation(eqx.Module):
    """What differs from image to image; each field but the last five is the (2,) lowest and highest value.

    Atoms' widths, doses, and magnification span what the published generator draws (10 to 10⁴ electrons, ± 35 %).

    `pixel`: pixel size, Å. `source`: rms width of atom and source, Å. `aperture`: highest frequency of the probe, 1/Å.
    `defocus`: phase at the aperture's edge, rad, which `astigmatism` adds to, rad. `counts`: log10 of electrons in the
    brightest pixel. `rattle`: rms static displacement of an atom, Å, independent in each layer. `vacancies`: fraction
    of missing columns. `gain`: brightness of a layer, dimensionless. `pedestal`: uniform background relative to the
    brightest pixel. `contamination`: rms of a smooth background relative to it. `correlation`: length of that, Å.
    `substitution`: fraction of substituted atoms where there are any. `drift`: amplitude of a wavy scan, Å.
    `jitter`: rms shift of a row, Å. `strain`: rms of each entry of a layer's own strain, dimensionless.
    `distortion`: rms of each entry of the scan's distortion, dimensionless. `hole`: probability that a layer has a
    hole, dimensionless; an edge is half as likely. `absent`: probability (dimensionless) that a layer is missing.
    `empty`: probability that there is no sheet at all, dimensionless, so that noise is not taken for one.
    """

    pixel: Float[Array, "2"]
    source: Float[Array, "2"]
    aperture: Float[Array, "2"]
    defocus: Float[Array, "2"]
    astigmatism: Float[Array, "2"]
    counts: Float[Array, "2"]
    rattle: Float[Array, "2"]
    vacancies: Float[Array, "2"]
    gain: Float[Array, "2"]
    pedestal: Float[Array, "2"]
    contamination: Float[Array, "2"]
    correlation: Float[Array, "2"]
    substitution: Float[Array, "2"]
    drift: Float[Array, "2"]
    jitter: Float[Array, "2"]
    strain: Float[Array, ""]
    distortion: Float[Array, ""]
    hole: Float[Array, ""]
    absent: Float[Array, ""]
    empty: Float[Array, ""]

    def __init__(self, **changed):
        usual = {
            "pixel": (0.07, 0.143),
            "source": (0.2, 0.55),
            "aperture": (0.5, 1.4),
            "defocus": (-1.2, 1.2),
            "astigmatism": (-0.6, 0.6),
            "counts": (1.0, 4.0),
            "rattle": (0.02, 0.1),
            "vacancies": (0.0, 0.02),
            "gain": (0.85, 1.15),
            "pedestal": (0.0, 0.5),
            "contamination": (0.0, 0.15),
            "correlation": (5.0, 20.0),
            "substitution": (0.0, 0.5),
            "drift": (0.0, 0.25),
            "jitter": (0.0, 0.04),
            "strain": 0.004,
            "distortion": 0.025,
            "hole": 0.2,
            "absent": 0.0,
            "empty": 0.0,
        }
        for name, value in (usual | changed).items():
            setattr(self, name, jnp.asarray(value, dtype=float))


class Sample(NamedTuple):
    """A drawn image (ny, nx) of mean 0 and deviation 1, what lies under each pixel, and the true columns.

    `labels`: (l, ny, nx, c) 0 or 1. `positions`: (l, n, 2) x and y in pixels. `members`: (l, n, c) 1 for the classes of
    a column that is there. `pixel`: pixel size, Å.
    """

    image: Float[Array, "ny nx"]
    labels: Float[Array, "l ny nx c"]
    positions: Float[Array, "l n 2"]
    members: Float[Array, "l n c"]
    pixel: Float[Array, ""]


def draw(
    key: Key[Array, ""],
    sheet: Sheet,
    layers: int,
    variation: Variation,
    pixels: int,
    substituted: Float[Array, "l 2"] | None = None,
) -> Sample:
    """One image of `layers` turned and shifted sheets, square, with everything in `variation` drawn anew.

    `substituted`: the fraction of substituted atoms of both sublayers of each layer, in place of drawn ones.
    """
    keys = iter(jax.random.split(key, 12))
    pixel = _between(next(keys), variation.pixel)
    shares = _substitution(next(keys), layers, variation)
    shares = shares if substituted is None else substituted
    columns = jax.vmap(lambda key, share: _layer(key, sheet, variation, share, pixels * pixel))
    points, brightness, members = columns(jax.random.split(next(keys), layers), shares)
    present = jax.random.uniform(next(keys), (layers, 1)) >= variation.absent
    present &= jax.random.uniform(next(keys)) >= variation.empty
    brightness, members = brightness * present, members * present[..., None]
    points = _scanned(next(keys), points, variation) / pixel + pixels // 2
    image = _recorded(
        next(keys),
        _projected(points, brightness, _between(next(keys), variation.source) / pixel, pixels),
        pixel,
        variation,
    )
    radius = sheet.radius / pixel
    # Disks of one class do not meet, so their union is a sum of narrow Gaussians above its value at the radius.
    disks = jax.vmap(jax.vmap(lambda p, m: _gaussians(p, m, 0.6 * radius, pixels, 0), in_axes=(None, 1)))(
        points, members
    )
    labels = jnp.moveaxis(disks > np.exp(-0.5 / 0.6**2), 1, -1).astype(image.dtype)
    return Sample(standardised(image), labels, points, members, pixel)


def standardised(image: Float[Array, "*b ny nx"]) -> Float[Array, "*b ny nx"]:
    """The image with mean 0 and standard deviation 1."""
    centred = image - jnp.mean(image, axis=(-2, -1), keepdims=True)
    return centred / jnp.maximum(jnp.std(centred, axis=(-2, -1), keepdims=True), 1e-12)


def _between(key: Key[Array, ""], ends: Float[Array, "2"], shape: tuple[int, ...] = ()) -> Array:
    return ends[0] + (ends[1] - ends[0]) * jax.random.uniform(key, shape)


def _substitution(key: Key[Array, ""], layers: int, variation: Variation) -> Float[Array, "l 2"]:
    """Share of substituted atoms of the upper and lower sublayer of each layer.

    Pristine, one sublayer, one layer, or all layers, a quarter of the images each.
    """
    kind, level, where, side = jax.random.split(key, 4)
    kind = jax.random.randint(kind, (), 0, 4)
    one = jnp.arange(layers) == jax.random.randint(where, (), 0, layers)
    sublayer = jnp.arange(2) == jax.random.randint(side, (), 0, 2)
    chosen = (kind == 3) | ((kind > 0) & one[:, None] & ((kind == 2) | sublayer[None, :]))
    return chosen * _between(level, variation.substitution, (layers, 2))


def _layer(key: Key[Array, ""], sheet: Sheet, variation: Variation, share: Float[Array, "2"], side: Array):
    """Positions (n, 2) in Å, brightness (n,) and class membership (n, c) of one layer."""
    keys = iter(jax.random.split(key, 12))
    cells = np.arange(-sheet.reach, sheet.reach + 1)
    first, second = (grid.ravel() for grid in np.meshgrid(cells, cells, indexing="ij"))
    fractional = (
        jnp.asarray(np.stack([first, second], axis=1))[:, None]
        + sheet.sites[None]
        + jax.random.uniform(next(keys), (1, 1, 2))
    )
    vectors = sheet.lattice * (1 + sheet.expansion * jnp.mean(share)) * jnp.array([[1.0, 0.0], [-0.5, np.sqrt(0.75)]])
    angle = 2 * jnp.pi * jax.random.uniform(next(keys))
    turn = jnp.array([[jnp.cos(angle), jnp.sin(angle)], [-jnp.sin(angle), jnp.cos(angle)]])
    strain = jnp.eye(2) + variation.strain * jax.random.normal(next(keys), (2, 2))
    points = fractional.reshape(-1, 2) @ vectors @ turn @ strain
    site = jnp.tile(jnp.arange(len(sheet.sites)), len(first))
    number = jnp.sum(jax.random.uniform(next(keys), (len(points), 2)) < share[None], axis=1)
    there = jax.random.uniform(next(keys), (len(points),)) >= _between(next(keys), variation.vacancies)
    there &= _outside_hole(next(keys), points, variation, side)
    rattle = _between(next(keys), variation.rattle) * jax.random.normal(next(keys), points.shape)
    gain = _between(next(keys), variation.gain)
    # The patch reaches around the image however it is turned; no more than this share of it is near the image.
    _, near = jax.lax.top_k(-jnp.max(jnp.abs(points), axis=1), int(0.4 * len(points)))
    brightness = gain * there * sheet.brightness[site, number]
    return (points + rattle)[near], brightness[near], (there[:, None] * sheet.membership[site, number])[near]


def _outside_hole(key: Key[Array, ""], points: Float[Array, "n 2"], variation: Variation, side: Array):
    """Whether each column is outside a round hole, and on the near side of a straight edge; often there is neither."""
    happens, where, size, angle, distance = jax.random.split(key, 5)
    hole, edge = jax.random.uniform(happens, (2,)) < variation.hole * jnp.array([1.0, 0.5])
    centre = side * (jax.random.uniform(where, (2,)) - 0.5)
    radius = 2 + 6 * jax.random.uniform(size)
    angle = 2 * jnp.pi * jax.random.uniform(angle)
    along = points @ jnp.array([jnp.cos(angle), jnp.sin(angle)])
    within = jnp.sum((points - centre[None]) ** 2, axis=1) < radius**2
    return ~(hole & within) & ~(edge & (along > side * (0.5 * jax.random.uniform(distance))))


def _scanned(key: Key[Array, ""], points: Float[Array, "l n 2"], variation: Variation) -> Float[Array, "l n 2"]:
    """The columns where a distorted, wavy scan puts them, Å; the slow scan runs along y."""
    matrix, amplitude, period, phase = jax.random.split(key, 4)
    points = points @ (jnp.eye(2) + variation.distortion * jax.random.normal(matrix, (2, 2)))
    waves = _between(amplitude, variation.drift, (2,)) / jnp.sqrt(2)
    turns = points[..., 1:] / (10 + 50 * jax.random.uniform(period, (1, 1, 2))) + jax.random.uniform(phase, (1, 1, 2))
    return points + waves[None, None] * jnp.sin(2 * jnp.pi * turns)


def _gaussians(points: Float[Array, "n 2"], heights: Float[Array, " n"], width: Array, pixels: int, pad: int):
    """A sum of Gaussians of one width in pixels, on a square of `pixels` with `pad` more on each side."""
    axis = jnp.arange(-pad, pixels + pad)
    across, down = (jnp.exp(-0.5 * ((axis[None] - points[:, i, None]) / width) ** 2) for i in (0, 1))
    return (heights[:, None] * down).T @ across


def _projected(points, brightness, width: Array, pixels: int) -> Float[Array, "py px"]:
    return _gaussians(points.reshape(-1, 2), brightness.ravel(), width, pixels, PAD)


def _recorded(key: Key[Array, ""], image: Float[Array, "py px"], pixel: Array, variation: Variation):
    """The image through the probe, over a background, with jittered rows, counted; without the padding."""
    keys = iter(jax.random.split(key, 8))
    size = len(image)
    ky, kx = jnp.fft.fftfreq(size)[:, None] / pixel, jnp.fft.fftfreq(size)[None, :] / pixel
    image = jnp.fft.ifft2(jnp.fft.fft2(image) * _transfer(next(keys), ky, kx, pixel, variation)).real
    image = jnp.maximum(image, 0)[PAD:-PAD, PAD:-PAD]
    rows = _between(next(keys), variation.jitter) / pixel * jax.random.normal(next(keys), (len(image), 1))
    image = jnp.maximum(image - rows * jnp.asarray(jnp.gradient(image, axis=1)), 0)
    image = image / jnp.maximum(jnp.max(image), 1e-12)  # there may be no atom
    length = _between(next(keys), variation.correlation)
    white = jnp.fft.fft2(jax.random.normal(next(keys), (size, size)))
    smooth = jnp.fft.ifft2(white * jnp.exp(-0.5 * (2 * jnp.pi * length) ** 2 * (ky**2 + kx**2))).real[
        PAD:-PAD, PAD:-PAD
    ]
    smooth = smooth / jnp.maximum(jnp.std(smooth), 1e-12) * _between(next(keys), variation.contamination)
    keys = iter(jax.random.split(next(keys), 3))
    image = image + smooth - jnp.min(smooth) + _between(next(keys), variation.pedestal)
    counts = 10 ** _between(next(keys), variation.counts)
    return _counted(next(keys), counts * image)


def _counted(key: Key[Array, ""], mean: Float[Array, "ny nx"]) -> Float[Array, "ny nx"]:
    """Poisson counts ten times faster than by rejection: up to a mean of 12 by inversion, above it by three cumulants.

    Above it the distribution function is off by less than 1e-3 (Cornish and Fisher's expansion).
    """
    chance = jax.random.uniform(key, mean.shape)
    few = jnp.minimum(mean, 12.0)
    term = total = jnp.exp(-few)
    count = (chance >= total).astype(mean.dtype)
    for number in range(1, 40):
        term = term * few / number
        total = total + term
        count = count + (chance >= total)
    normal = jax.scipy.special.ndtri(jnp.clip(chance, 1e-7, 1 - 1e-7))
    many = jnp.round(mean + jnp.sqrt(mean) * normal + (normal**2 - 1) / 6)
    return jnp.where(mean < 12, count, jnp.maximum(many, 0))


def _transfer(key: Key[Array, ""], ky, kx, pixel: Array, variation: Variation) -> Array:
    """Fourier transform of the intensity of an aberrated probe, 1 at the origin."""
    edge, defocus, astigmatism = jax.random.split(key, 3)
    edge = jnp.minimum(_between(edge, variation.aperture), 0.45 / pixel)
    square = (kx**2 + ky**2) / edge**2
    twofold = _between(astigmatism, variation.astigmatism, (2,))
    phase = (
        _between(defocus, variation.defocus) * square
        + (twofold[0] * (kx**2 - ky**2) + twofold[1] * 2 * kx * ky) / edge**2
    )
    aperture = jax.nn.sigmoid((1 - jnp.sqrt(square)) * edge * len(ky) * pixel * 2)
    intensity = jnp.abs(jnp.fft.ifft2(aperture * jnp.exp(-1j * phase))) ** 2
    transfer = jnp.fft.fft2(intensity)
    return transfer / transfer[0, 0].real
