"""Everything in one run: `python -m benchmarks [--only PART ...] [--out DIR] [--tiny]`."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from benchmarks import gombnet, linear, multislice, phonons, refinement, timing, tomography

PARTS = ("linear", "refinement", "multislice", "tomography", "phonons", "gombnet")


def table(rows: list[dict]) -> str:
    """Rows of equal keys as aligned columns."""
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join("  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def _cell(value) -> str:
    if value is None:
        return "not reached"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def report_linear(found: dict) -> None:
    """One image size, for a reader."""
    compiled = ", ".join(f"{task} {seconds:.2f} s" for task, seconds in found["compile_s"].items())
    print(f"\nLinear: {found['atoms']} atoms, 12 tilts, {found['pixels']}² pixels of 0.32 Å")
    print(f"All agree to {found['largest_difference']:.1e} of the largest value. Compiled before: {compiled}.")
    if found["missing"]:
        print(found["missing"])
    print(table(found["rows"]), table(found["targets"]), sep="\n\n")


def report_refinement(found: dict) -> None:
    """The refinement, for a reader."""
    print(f"\nRefinement: {found['atoms']} atoms, 12 tilts, from {100 * refinement.OFF:g} pm per axis off")
    print(f"Compile time is not counted: each method ran once before (all together {found['warm_up_s']:.0f} s).")
    print(table(found["rows"]), table(found["targets"]), sep="\n\n")


def report_multislice(found: dict) -> None:
    """The multislice image, for a reader."""
    print(
        f"\nMultislice: {found['atoms']} atoms, {found['pixels']}² scan points, waves of {found['wave_pixels']}² pixels"
    )
    if found["missing"]:
        print(found["missing"])
    if "gradient_mb" in found:
        print(
            f"Gradient: {_cell(found['gradient_mb'])} MB, {_cell(found['gradient_mb_without_remat'])} MB without remat"
        )
    print(table(found["rows"]), *([table(found["targets"])] if found["targets"] else []), sep="\n\n")


def report_tomography(found: dict) -> None:
    """The Fourier iteration, for a reader."""
    print(f"\nGENFIRE: {found['voxels']} voxels, reciprocal grid of {found['fine_grid']}³")
    if found["missing"]:
        print(found["missing"])
    print(f"All agree to {found['largest_difference']:.1e} of the largest value.")
    print(table(found["rows"]), table(found["windows"]), sep="\n\n")
    if found["targets"]:
        print("\n" + table(found["targets"]))


def report_phonons(found: dict) -> None:
    """Force constants and densities, for a reader."""
    print(f"\nPhonons: {found['atoms']} atoms, {phonons.MESH[0]} × {phonons.MESH[1]} wave vectors")
    print(f"Densities agree to {found['largest_difference']:.1e} of the largest value.")
    print(*(table(found[part]) for part in ("rows", "growth", "densities", "targets")), sep="\n\n")


def report_gombnet(found: dict) -> None:
    """Networks, for a reader."""
    print(f"\nGomb-Net: filters {found['filters']}, training on {gombnet.BATCH} images of {found['pixels']}²")
    print(found["missing"] or f"Both agree to {found['largest_difference']:.1e} of the largest value.")
    print(*(table(found[part]) for part in ("rows", "alone", "targets")), sep="\n\n")


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and with `--out` write `results.json` into a folder where there is none yet."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="these parts")
    parser.add_argument("--out", type=Path, help="folder for results.json, which must not exist there")
    parser.add_argument("--tiny", action="store_true", help="a few atoms and pixels: does it run at all?")
    options = parser.parse_args(arguments)
    target = options.out / "results.json" if options.out else None
    if target is not None and target.exists():
        print(f"{target} exists and is never overwritten; name another folder with --out.", file=sys.stderr)
        return 2
    try:
        results = run(options.tiny, options.only)
    except linear.Disagreement as error:
        print(error, file=sys.stderr)
        return 1
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"\nWritten: {target}")
    return 0


def run(tiny: bool, parts: Sequence[str] = PARTS) -> dict:
    """The measurements of these parts, printed one by one."""
    sizes, half_width, rounds = ((48,), 6.0, 1) if tiny else ((256, 512), np.inf, 7)
    device = jax.devices()[0].device_kind
    results = {"jax": jax.__version__, "numpy": np.__version__, "device": device, "cores": os.cpu_count()}
    print(f"jax {jax.__version__}, numpy {np.__version__}, {device}, {os.cpu_count()} cores, rounds: {rounds}")
    if "linear" in parts:
        results["linear"] = []
        for pixels in sizes:
            results["linear"].append(linear.measure(pixels, half_width, rounds))
            report_linear(results["linear"][-1])
    if "refinement" in parts:
        names = (refinement.SECOND, "Adam 0.05") if tiny else refinement.NAMES
        results["refinement"] = refinement.measure(*((48, half_width, 1) if tiny else (288, half_width, 2)), names)
        report_refinement(results["refinement"])
    if "multislice" in parts:
        results["multislice"] = []
        for field in (multislice.TINY,) if tiny else (multislice.PATCH, multislice.WHOLE):
            results["multislice"].append(multislice.measure(field))
            report_multislice(results["multislice"][-1])
    if "tomography" in parts:
        results["tomography"] = tomography.measure(*((16, 8, 1) if tiny else (60, 34, rounds)))
        report_tomography(results["tomography"])
    if "phonons" in parts:
        sizes = ((4, 3), (8, 6)) if tiny else ((12, 4), (24, 8), (28, 24))
        results["phonons"] = phonons.measure(sizes, 1 if tiny else rounds)
        report_phonons(results["phonons"])
    if "gombnet" in parts:
        results["gombnet"] = gombnet.measure(*(((4, 8, 16), 64, 1) if tiny else ((32, 64, 128, 256), 256, rounds)))
        report_gombnet(results["gombnet"])
    results["peak_memory_mb"] = timing.process_peak()
    print(f"\nPeak memory of the process: {_cell(results['peak_memory_mb'])} MB")
    return results


if __name__ == "__main__":
    sys.exit(main())
