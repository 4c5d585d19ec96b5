"""The published Gomb-Net in PyTorch, with the numbers of ours, to be timed beside it."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from flax import nnx
from torch import nn

from jaxaet.gombnet import GombNet


class Block(nn.Sequential):
    """Twice: convolution, batch normalisation, ReLU."""

    def __init__(self, inside: int, outside: int):
        parts = [
            (nn.Conv2d(channels, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU(inplace=True))
            for channels in (inside, outside)
        ]
        super().__init__(*parts[0], *parts[1])


class Branch(nn.Module):
    """One decoder."""

    def __init__(self, filters: Sequence[int], outputs: int):
        super().__init__()
        steps = list(zip(filters[:0:-1], filters[-2::-1], strict=True))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(deep, deep // 2, 2, stride=2) for deep, _ in steps)
        self.blocks = nn.ModuleList(Block(deep // 2 + shallow, shallow) for deep, shallow in steps)
        self.last = nn.Conv2d(filters[0], outputs, 1)

    def forward(self, x, skips):
        for up, block, skip in zip(self.ups, self.blocks, reversed(skips), strict=True):
            x = block(torch.cat([up(x), skip], dim=1))
        return self.last(x)


class Network(nn.Module):
    """Images (b, 1, ny, nx) to logits (b, layers, classes, ny, nx)."""

    def __init__(self, layers: int, classes: int, filters: Sequence[int]):
        super().__init__()
        pairs = zip((1, *filters[:-1]), filters, strict=True)
        self.encoder = nn.ModuleList(Block(inside, outside) for inside, outside in pairs)
        self.branches = nn.ModuleList(Branch(filters, classes) for _ in range(layers))

    def forward(self, x):
        skips = []
        for block in self.encoder[:-1]:
            skips.append(block(x))
            x = nn.functional.max_pool2d(skips[-1], 2)
        x = self.encoder[-1](x)
        return torch.stack([branch(x, skips) for branch in self.branches], dim=1)


def dice(logits, targets):
    """The mean Dice loss of the layers; both (b, layers, classes, ny, nx)."""
    outputs = torch.sigmoid(logits)
    common, seen, true = (part.sum(dim=(2, 3, 4)) for part in (outputs * targets, outputs, targets))
    return (1 - 2 * common / (seen + true)).mean()


@torch.no_grad()
def same_as(ours: GombNet, classes: int, filters: Sequence[int]) -> Network:
    """The network with the same numbers, its memory in the order that is fastest on CPUs (channels last)."""
    theirs = Network(len(ours.decoders), classes, filters)
    for mine, block in zip([*ours.encoder, ours.bottleneck], theirs.encoder, strict=True):
        _copy_block(mine, block)
    for mine, branch in zip(ours.decoders, theirs.branches, strict=True):
        for up, to in zip(mine.ups, branch.ups, strict=True):
            kernel = np.asarray(up.kernel[...])[::-1, ::-1]  # ours is applied from the far end
            _assign(to, kernel.transpose(2, 3, 0, 1), up.bias[...])
        for block, to in zip(mine.blocks, branch.blocks, strict=True):
            _copy_block(block, to)
        _assign(branch.last, np.asarray(mine.last.kernel[...]).transpose(3, 2, 0, 1), mine.last.bias[...])
    return theirs.to(memory_format=torch.channels_last)


def _copy_block(ours: nnx.Module, theirs: Block) -> None:
    for i, (convolution, norm) in enumerate(zip(ours.convolutions, ours.norms, strict=True)):
        _assign(theirs[3 * i], np.asarray(convolution.kernel[...]).transpose(3, 2, 0, 1), convolution.bias[...])
        _assign(theirs[3 * i + 1], np.asarray(norm.scale[...]), norm.bias[...])


def _assign(to: nn.Module, weight: np.ndarray, bias) -> None:
    to.weight.copy_(torch.tensor(weight.copy()))
    to.bias.copy_(torch.tensor(np.asarray(bias)))


def tensor(images: np.ndarray) -> torch.Tensor:
    """Images (b, ny, nx) as the network takes them."""
    return torch.tensor(images)[:, None].contiguous(memory_format=torch.channels_last)


def predicting(network: Network, images: np.ndarray) -> Callable:
    """The logits of trained numbers, (b, layers, ny, nx, classes)."""
    network.eval()
    given = tensor(images)

    def predict():
        with torch.inference_mode():
            return network(given).permute(0, 1, 3, 4, 2).numpy()

    return predict


def training(network: Network, images: np.ndarray, labels: np.ndarray) -> Callable:
    """A step of Adam on one batch, that returns the loss before it; `labels`: (b, layers, ny, nx, classes)."""
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    given, targets = tensor(images), torch.tensor(labels).permute(0, 1, 4, 2, 3)

    def step():
        network.train()
        optimiser.zero_grad()
        loss = dice(network(given), targets)
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    return step
