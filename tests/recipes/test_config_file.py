"""Reading configurations: what is wrong is said with file, line and key; `--set`; the way back to YAML."""

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from jaxaet.core.errors import InputError
from jaxaet.recipes.config_file import dump_config, load_config, parse_override

PRINTABLE = st.text(st.characters(categories=("L", "N", "P", "S", "Zs"), max_codepoint=0x2FFF), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(SCALARS | PRINTABLE, lambda inner: st.lists(inner, max_size=3), max_leaves=5)
TREES = st.recursive(
    SCALARS | PRINTABLE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PRINTABLE, inner, max_size=3),
    max_leaves=6,
)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)

H, T = "recipe: heterojunction\n", "recipe: tilt_series\n"
APPLY, TRAIN = "recipe: gombnet_apply\n", "recipe: gombnet_train\n"
BAD = {  # text: (line, key, words of the message)
    H + "seeed: 1\n": (2, "seeed", "did you mean seed?"),
    H + "\ninstrument:\n  energy_ev: 60000\n": (4, "instrument.energy_ev", "energy_kev: 60."),
    H + "instrument:\n  pixel_size_nm: 0.032\n": (3, "instrument.pixel_size_nm", "pixel_size_a: 0.32."),
    H + "instrument:\n  semi_angle_rad: 0.038\n": (3, "instrument.semi_angle_rad", "semi_angle_mrad: 38."),
    H + "instrument:\n  pixel_size: 0.3\n": (3, "instrument.pixel_size", "pixel_size_a: 0.3."),
    H + "instrument: {energy_kev: 60 kV}\n": (2, "instrument.energy_kev", "energy_kev: 60."),
    H + "instrument:\n  energy_kev: '60'\n": (3, "instrument.energy_kev", "a number from 1 up to 3000"),
    H + "instrument:\n  pixel_size_a: -0.3\n": (3, "instrument.pixel_size_a", "above 0.001"),
    H + "instrument:\n  dose_e_per_a2: .nan\n": (3, "instrument.dose_e_per_a2", "found NaN"),
    H + "seed: true\n": (2, "seed", "a whole number"),
    H + "seed: 1.5\n": (2, "seed", "found 1.5"),
    H + "error_bars: 'yes'\n": (2, "error_bars", "true or false"),
    H + "tracing: 3\n": (2, "tracing", "a block with the keys min_distance_a"),
    H + "u2: shared\n": (2, "u2", "move it to refinement"),
    H + "instrument:\n  image_pixels: [64, 64, 64]\n": (3, "instrument.image_pixels", "a list of 2"),
    H + "instrument:\n  detector_inner_mrad: 300\n": (2, "instrument", "below the outer"),
    H + "calibration: {angles: free}\n": (2, "calibration.angles", "fixed or refine or from_scratch"),
    H + "seed: 1\nseed: 2\n": (3, "seed", "remove one of the two"),
    "seed: 1\nrecipe: heterojunktion\n": (2, "recipe", "heterojunction or tilt_series"),
    "seed: 1\n": (1, "recipe", "found nothing"),
    T + "data:\n  pixel_size_a: 1\n": (2, "data.path", "found nothing"),
    T + "specimen:\n  species:\n  - Fe\n  - pt\n": (5, "specimen.species[2]", "did you mean Pt?"),
    T + "specimen: {species: []}\n": (2, "specimen.species", "found []"),
    T + "specimen: {species: [Si, Si]}\n": (2, "specimen.species", "each once"),
    "recipe: phonons_interface\ndata: {sigma_pm: 3}\n": (2, "data.sigma_pm", "a block of names, each with"),
    T + "data: {path: /no/such/file.npz}\n": (2, "data.path", "no file at /no/such/file.npz"),
    T + "data: {angles_deg: [1, [1, 2, 3]]}\n": (2, "data.angles_deg", "a list of 3 items"),
    APPLY + "network: {tile: 100}\n": (2, "network.tile", "from 64 up to 2048 in steps of 64"),
    APPLY + "network: {weights: gold}\n": (2, "network.weights", "allowed graphene, ws2, or a file that exists"),
    TRAIN + "network: {filters: [4]}\n": (2, "network.filters", "a list of 2 or more, each item"),
}  # fmt: skip


def refusal(path, text, overrides=()):
    """The message with which the text is refused, one line for each problem."""
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_config(path, overrides)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("text", BAD)
def test_a_bad_key_is_named_with_file_line_and_remedy(tmp_path, text):
    line, key, words = BAD[text]
    path = tmp_path / "bad.yaml"
    message = next(row for row in refusal(path, text) if row.startswith(f"{path}:{line}: {key}: found "))
    assert words in message
    assert re.fullmatch(r".*; allowed .*; .*[.?]", message)


def test_keys_that_do_not_fit_each_other_are_named_once(tmp_path):
    (row,) = refusal(tmp_path / "bad.yaml", TRAIN, ["images.pixels=65"])
    assert row.startswith("--set images.pixels=65: found images.pixels 65 with ")


def test_all_problems_come_at_once_in_the_order_of_the_file(tmp_path):
    rows = refusal(tmp_path / "bad.yaml", "recipe: heterojunction\nseed: -1\nspecimen:\n  colour: red\nerror_bars: 3\n")
    assert [row.split(": ")[1] for row in rows] == ["seed", "specimen.colour", "error_bars"]


@pytest.mark.parametrize(
    "text",
    ["recipe: [a\nseed: 1\n", "recipe: heterojunction\n  seed: 1\n", "a: 1\n---\nb: 2\n", "- 1\n", "hello", "\0"],
)
def test_what_is_not_yaml_is_refused_in_one_sentence(tmp_path, text):
    path = tmp_path / "bad.yaml"
    (row,) = refusal(path, text)
    assert row.startswith(str(path))
    assert "allowed" in row


def test_a_missing_file_is_refused_with_the_nearest_name(tmp_path):
    (tmp_path / "heterojunction.yaml").touch()
    with pytest.raises(InputError, match=r"hetrojunction\.yaml: found no such file.*did you mean .*/het"):
        load_config(tmp_path / "hetrojunction.yaml")
    (tmp_path / "heterojunction.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="found a file that is not text; allowed a YAML file; `jaxaet init"):
        load_config(tmp_path / "heterojunction.yaml")
    with pytest.raises(InputError, match="found a folder"):
        load_config(tmp_path)


def test_a_bad_override_is_named_by_itself(tmp_path):
    path = tmp_path / "ok.yaml"
    text = "recipe: heterojunction\n"
    assert refusal(path, text, ["seed=many"])[0].startswith("--set seed=many: seed: found")
    assert "key.path=value" in refusal(path, text, ["tracing.rounds"])[0]
    inner = "instrument.detector_inner_mrad=300"
    assert refusal(path, text, ["seed=1", inner])[0].startswith(f"--set {inner}: instrument: found detector_inner")
    assert "a block there" in refusal(path, text, ["recipe.x=1"])[0]
    assert "not YAML" in refusal(path, text, ["seed=[1"])[0]


@given(names=st.lists(NAMES, min_size=1, max_size=3), value=VALUES)
def test_override_reads_any_value_as_yaml(names, value):
    text = f"{'.'.join(names)}={json.dumps(value, ensure_ascii=False)}"
    assert parse_override(text) == (tuple(names), value)


@one_folder
@given(
    seed=st.integers(0, 2**32 - 1),
    dose=st.floats(1e-6, 1e12),
    thickness=st.none() | st.floats(1e-3, 1e5),
    pixels=st.tuples(st.integers(8, 512), st.integers(8, 512)),
    angles=st.sampled_from(["fixed", "refine", "from_scratch"]),
)
def test_a_resolved_config_reads_back_unchanged(tmp_path, seed, dose, thickness, pixels, angles):
    path = tmp_path / "config.yaml"
    path.write_text("recipe: heterojunction\n")
    values = {
        "seed": seed,
        "instrument.dose_e_per_a2": dose,
        "reconstruction.thickness_a": thickness,
        "instrument.image_pixels": list(pixels),
        "calibration.angles": angles,
    }
    config = load_config(path, [f"{key}={json.dumps(value)}" for key, value in values.items()])
    assert (config.seed, config.instrument.dose_e_per_a2, config.instrument.image_pixels) == (seed, dose, pixels)
    assert (config.reconstruction.thickness_a, config.calibration.angles) == (thickness, angles)
    path.write_text(dump_config(config))
    assert load_config(path) == config


@one_folder
@given(tree=st.dictionaries(st.sampled_from(["seed", "data", "tracing", "specimen"]) | PRINTABLE, TREES, max_size=4))
def test_no_content_whatever_escapes_as_another_error(tmp_path, tree):
    path = tmp_path / "any.yaml"
    path.write_text(json.dumps({"recipe": "tilt_series", **tree}, ensure_ascii=False), encoding="utf-8")
    with pytest.raises(InputError, match=r"specimen|recipe"):
        load_config(path)


@one_folder
@given(text=st.text(max_size=40))
def test_no_text_whatever_escapes_as_another_error(tmp_path, text):
    path = tmp_path / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError):
        load_config(path)
    with pytest.raises(InputError):
        load_config(path, [text])
