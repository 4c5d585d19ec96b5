"""How well Gomb-Net separates two sheets in images it has not seen: NAME graphene|ws2 COUNT; writes NAME.png, .npz."""

import sys

import jax
import matplotlib.pyplot as plt
import numpy as np
from scipy.spatial import KDTree

import jaxaet as ja

PIXELS, MARGIN, TOLERANCE = 256, 6, 0.5  # atoms within 6 pixels of the edge are not asked for; Å


def twist(points):
    """Angle between the two layers in degrees, 0 to 30, by the sixfold phase of next-nearest neighbours."""
    phases = []
    for layer in points:
        apart = layer[KDTree(layer).query(layer, 7)[1][:, 4:]] - layer[:, None]
        phases.append(np.mean(np.exp(6j * np.arctan2(apart[..., 1], apart[..., 0]))))
    return abs(np.degrees(np.angle(phases[1] / phases[0]))) / 6


def atoms(columns, points, belongs, member, pixel):
    """Found, true and matched columns of one class, how many of the found belong to another, and distances, Å."""
    inner = lambda p: p[(abs(p - (PIXELS - 1) / 2) < (PIXELS - 1) / 2 - MARGIN).all(axis=1)]  # noqa: E731
    named = inner(columns.positions[columns.probabilities[:, member] > 0.5] / pixel + PIXELS // 2)
    scores = ja.gombnet.atom_scores(named, inner(points[belongs[:, member] > 0]), TOLERANCE / pixel)
    others = points[(belongs[:, member] == 0) & belongs.any(axis=1)]
    false = len(ja.gombnet.atom_scores(named, others, TOLERANCE / pixel).distances)
    return [scores.found, scores.true, len(scores.distances), false, len(inner(others))], scores.distances * pixel


if __name__ == "__main__":
    name, weights, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    sheet = {"graphene": ja.graphene_sheet, "ws2": ja.tungsten_sheet}[weights]()
    draw = jax.jit(lambda key: ja.gombnet.draw(key, sheet, 2, ja.gombnet.Variation(), PIXELS))
    rows, guesses, angles, found = [], [], [], {label: [] for label in sheet.classes}
    for image, labels, positions, members, pixel in map(draw, jax.random.split(jax.random.key(2026), count)):
        labels, positions, members, pixel = map(np.asarray, (labels, positions, members, pixel))
        prediction = ja.predict(ja.load_weights(weights)[0], np.asarray(image), float(pixel), float(pixel))
        rows.append(np.ravel(ja.gombnet.pixel_scores(prediction.mean[None] > 0.5, labels[None])))
        guess = np.random.default_rng(0).random(labels[None].shape) > 0.5
        guesses.append(np.ravel(ja.gombnet.pixel_scores(guess, labels[None])))
        angles.append(twist([p[m.any(axis=1)] for p, m in zip(positions, members, strict=True)]))
        columns = ja.decode(prediction, sheet)
        overlap = np.einsum("lyxc,myxc->lm", prediction.mean, labels)
        for layer, output in enumerate(ja.gombnet.best_orders(overlap[None])[0]):
            for member, label in enumerate(sheet.classes):
                found[label].append(atoms(columns[output], positions[layer], members[layer], member, pixel))
    for label, scores in (("guessing", guesses), (weights, rows)):
        print(label, "accuracy, Dice, IoU:", *(f(scores, axis=0).round(3) for f in (np.mean, np.median)))
    for label, parts in found.items():
        counts, apart = np.sum([part[0] for part in parts], axis=0), np.concatenate([part[1] for part in parts])
        ratios = counts[[2, 2, 3]] / np.maximum(counts[[0, 1, 4]], 1)
        print(f"{label}: precision, recall, share of others so named {ratios.round(4)}, F1", end=" ")
        print(f"{2 * counts[2] / (counts[0] + counts[1]):.4f}, rms {np.sqrt(np.mean(apart**2)):.4f} Å")
    plt.axes(xlabel="twist (°)", ylabel="intersection over union").plot(angles, np.array(rows)[:, 2], "o")
    plt.savefig(f"{name}.png", dpi=150)
    np.savez(f"{name}.npz", twist=angles, scores=rows, guesses=guesses)
