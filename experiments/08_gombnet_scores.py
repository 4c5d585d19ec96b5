"""Scores and error bars of Gomb-Net on drawn images it has not seen; writes NAME.png, NAME.npz.

Takes NAME graphene|ws2 COUNT and, if wanted, log10 of the fewest and most electrons in the brightest pixel.
"""

import sys

import jax
import matplotlib.pyplot as plt
import numpy as np

import jaxaet as ja

PIXELS, MARGIN, TOLERANCE = 256, 6, 0.5  # atoms within 6 pixels of the edge are not asked for; Å


def atoms(columns, points, belongs, member, pixel):
    """Found, true and matched columns of one class, how many found belong to another; distances and errors, Å."""
    inner = lambda p: (abs(p - (PIXELS - 1) / 2) < (PIXELS - 1) / 2 - MARGIN).all(axis=1)  # noqa: E731
    places = columns.positions / pixel + PIXELS // 2
    named = (columns.probabilities[:, member] > 0.5) & inner(places)
    true, others = points[belongs[:, member] > 0], points[(belongs[:, member] == 0) & belongs.any(axis=1)]
    scores = ja.gombnet.atom_scores(places[named], true[inner(true)], TOLERANCE / pixel)
    false = len(ja.gombnet.atom_scores(places[named], others, TOLERANCE / pixel).distances)
    counts = [scores.found, scores.true, len(scores.distances), false, inner(others).sum()]
    return counts, scores.distances * pixel, columns.errors[named][scores.pairs[:, 0]]


if __name__ == "__main__":
    name, weights, count, *counts = sys.argv[1:]
    sheet = {"graphene": ja.graphene_sheet, "ws2": ja.tungsten_sheet}[weights]()
    (network, about), counts = ja.load_weights(weights), tuple(map(float, counts)) or (1.0, 4.0)
    draw = jax.jit(lambda key: ja.gombnet.draw(key, sheet, 2, ja.gombnet.Variation(counts=counts), PIXELS))
    random, rows, guesses, found = np.random.default_rng(0), [], [], {label: [] for label in sheet.classes}
    for image, labels, positions, members, pixel in map(draw, jax.random.split(jax.random.key(2026), int(count))):
        labels, positions, members, pixel = map(np.asarray, (labels, positions, members, pixel))
        prediction = ja.predict(network, np.asarray(image), float(pixel), float(pixel))
        rows.append(np.ravel(ja.gombnet.pixel_scores(prediction.mean[None] > 0.5, labels[None])))
        guesses.append(np.ravel(ja.gombnet.pixel_scores(random.random(labels[None].shape) > 0.5, labels[None])))
        columns = ja.decode(prediction, sheet, error_factor=about["error_factor"])
        overlap = np.einsum("lyxc,myxc->lm", prediction.mean, labels)[None]
        for layer, output in enumerate(ja.gombnet.best_orders(overlap)[0]):
            for member, label in enumerate(sheet.classes):
                found[label].append(atoms(columns[output], positions[layer], members[layer], member, pixel))
    for label, scores in (("guessing", guesses), (weights, rows)):
        print(label, "accuracy, Dice, IoU:", *(f(scores, axis=0).round(3) for f in (np.mean, np.median)))
    axes = plt.axes(xlabel="error bar (pm)", ylabel="true error, rms along an axis (pm)", aspect="equal")
    for label, parts in found.items():
        of, apart, errors = (f([p[i] for p in parts], axis=0) for i, f in enumerate((np.sum, *[np.concatenate] * 2)))
        ratios, f1 = of[[2, 2, 3]] / np.maximum(of[[0, 1, 4]], 1), 2 * of[2] / (of[0] + of[1])
        pulls = np.mean(apart**2 / errors**2) / 2, np.mean(apart**2 < 5.99 * errors**2)  # 0.95 of a normal law's
        print(f"{label}: precision, recall, share of others so named {ratios.round(4)}, F1 {f1:.4f}, rms", end=" ")
        print(f"{np.sqrt(np.mean(apart**2)):.4f} Å, {pulls[0] ** 0.5:.2f} errors; {pulls[1]:.3f} in the 95 % circle")
        tenths = np.array_split(np.argsort(errors), 10)
        bars, true = (100 * np.sqrt([np.mean(v[t] ** 2) for t in tenths]) for v in (errors, apart / np.sqrt(2)))
        axes.plot(bars, true, "o", label=label)
        axes.legend()
    axes.axline((0, 0), slope=1, color="grey")
    plt.savefig(f"{name}.png", dpi=150)
    np.savez(f"{name}.npz", scores=rows, guesses=guesses)
