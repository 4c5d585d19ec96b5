"""U-Net and Gomb-Net: one encoder, and one decoder for all layers or one for each."""

from collections.abc import Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxaet.core import InputError


class ConvBlock(nnx.Module):
    """Twice: 3 × 3 convolution, batch normalisation, ReLU."""

    def __init__(self, inside: int, outside: int, dtype, rngs: nnx.Rngs):
        self.convolutions = nnx.List(
            nnx.Conv(channels, outside, (3, 3), dtype=dtype, rngs=rngs) for channels in (inside, outside)
        )
        self.norms = nnx.List(
            nnx.BatchNorm(outside, momentum=0.9, epsilon=1e-5, dtype=dtype, rngs=rngs) for _ in range(2)
        )

    def __call__(self, x: Float[Array, "b ny nx i"], train: bool) -> Float[Array, "b ny nx o"]:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = jax.nn.relu(norm(convolution(x), use_running_average=not train))
        return x


class Decoder(nnx.Module):
    """From the bottleneck back to the pixels, with the skipped features of the encoder, ending in logits."""

    def __init__(self, filters: Sequence[int], outputs: int, dtype, rngs: nnx.Rngs):
        steps = list(zip(filters[:0:-1], filters[-2::-1], strict=True))
        self.ups = nnx.List(
            nnx.ConvTranspose(deep, deep // 2, (2, 2), strides=(2, 2), padding="VALID", dtype=dtype, rngs=rngs)
            for deep, _ in steps
        )
        self.blocks = nnx.List(ConvBlock(deep // 2 + shallow, shallow, dtype, rngs) for deep, shallow in steps)
        self.last = nnx.Conv(filters[0], outputs, (1, 1), dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b my mx d"], skips: Sequence[Array], train: bool) -> Float[Array, "b ny nx o"]:
        for up, block, skip in zip(self.ups, self.blocks, reversed(skips), strict=True):
            x = block(jnp.concatenate([up(x), skip], axis=-1), train)
        return self.last(x)


class _Branched(nnx.Module):
    """Encoder, bottleneck with dropout, and `decoders` decoders."""

    def __init__(
        self,
        decoders: int,
        outputs: int,
        filters: Sequence[int],
        dropout: float,
        dtype,
        key: Array,
    ):
        if len(filters) < 2 or any(deep != 2 * shallow for shallow, deep in pairwise(filters)):
            raise InputError(f"The filters {tuple(filters)} do not double from level to level; give e.g. 32, 64, 128.")
        rngs = nnx.Rngs(params=key)
        self.levels = len(filters)
        self.encoder = nnx.List(
            ConvBlock(inside, outside, dtype, rngs)
            for inside, outside in zip((1, *filters[:-2]), filters[:-1], strict=True)
        )
        self.bottleneck = ConvBlock(filters[-2], filters[-1], dtype, rngs)
        self.dropout = nnx.Dropout(dropout)
        self.decoders = nnx.List(Decoder(filters, outputs, dtype, rngs) for _ in range(decoders))

    def decoded(self, images: Float[Array, "b ny nx"], key: Array | None) -> list[Float[Array, "b ny nx o"]]:
        """Logits of each decoder; with a `key` the network trains: batch statistics and dropout."""
        factor = 2 ** (self.levels - 1)
        if images.shape[1] % factor or images.shape[2] % factor:
            raise InputError(f"Images of {images.shape[1:]} pixels were given; both must be multiples of {factor}.")
        train, x, skips = key is not None, images[..., None], []
        for block in self.encoder:
            x = block(x, train)
            skips.append(x)
            x = nnx.max_pool(x, (2, 2), strides=(2, 2))
        rngs = None if key is None else nnx.Rngs(dropout=key)
        x = self.dropout(self.bottleneck(x, train), deterministic=not train, rngs=rngs)
        return [decoder(x, skips, train).astype(jnp.float32) for decoder in self.decoders]


class GombNet(_Branched):
    """Images (b, ny, nx) to logits (b, layers, ny, nx, classes) by one decoder for each layer.

    `filters`: features of each level, each twice the one before. `dropout`: share of the bottleneck's features that
    training drops. `dtype`: of the arithmetic; parameters are float32. Source: Houston et al., Nano Lett. 25 (2025)
    9277, figure 1b, and the published code's blocks. Raises `InputError` for images that the levels cannot halve.
    """

    def __init__(
        self,
        layers: int,
        classes: int,
        key: Array,
        filters: Sequence[int] = (32, 64, 128, 256),
        dropout: float = 0.2,
        dtype=jnp.float32,
    ):
        super().__init__(layers, classes, filters, dropout, dtype, key)

    def __call__(self, images: Float[Array, "b ny nx"], key: Array | None = None) -> Float[Array, "b l ny nx c"]:
        return jnp.stack(self.decoded(images, key), axis=1)


class UNet(_Branched):
    """Images (b, ny, nx) to logits (b, layers, ny, nx, classes) by one decoder that all layers share."""

    def __init__(
        self,
        layers: int,
        classes: int,
        key: Array,
        filters: Sequence[int] = (32, 64, 128, 256),
        dropout: float = 0.0,
        dtype=jnp.float32,
    ):
        super().__init__(1, layers * classes, filters, dropout, dtype, key)
        self.layers = layers

    def __call__(self, images: Float[Array, "b ny nx"], key: Array | None = None) -> Float[Array, "b l ny nx c"]:
        (logits,) = self.decoded(images, key)
        return jnp.moveaxis(logits.reshape(*logits.shape[:3], self.layers, -1), 3, 1)


def parameter_count(network: nnx.Module) -> int:
    """How many numbers training finds."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network, nnx.Param)))
