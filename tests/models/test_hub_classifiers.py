"""Classifiers of the hub: ImageNet's labels in their spellings, a model's own preprocessing, and prompts for CLIP and SigLIP."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sentencepiece
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    SiglipProcessor,
    SiglipTokenizer,
    ViTModel,
    pipeline,
)

import gencls
from gencls import categories as cats
from gencls.errors import GenclsError
from gencls.likelihood.scoring import score
from gencls.models import tiny, zoo
from gencls.models.discriminative import ContrastiveModel, DiscriminativeModel, HubClassifier
from gencls.models.labels import imagenet_labels, outputs_behind
from gencls.stimuli.sets import StimulusSet
from gencls.stimuli.shapes import SHAPES

TABLE = pd.read_csv(Path(cats.__file__).parent / "data" / "imagenet_labels.csv", keep_default_na=False)
OWNER = dict(cats.imagenet_table()[["wnid", "category"]].itertuples(index=False))
NAMES = imagenet_labels()
IMAGES = [
    np.random.default_rng(i).integers(0, 256, shape, np.uint8) for i, shape in enumerate([(50, 70, 3), (40, 33, 3)])
]
PICTURES = [Image.fromarray(image) for image in IMAGES]
BEHIND = {category: list(cats.imagenet_classes(category)) for category in cats.CATEGORIES}


def behind(labels: Sequence[str]) -> dict[str, list[int]] | None:
    return outputs_behind(dict(enumerate(labels)), "net")


def wnids(found: dict[str, list[int]] | None, order: Sequence[str]) -> dict[str, str]:
    """wnid → category, of outputs that stand in this order of wnids."""
    assert found is not None
    return {order[i]: category for category, outputs in found.items() for i in outputs}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for family in ("resnet", "vit", "clip", "siglip", "siglip2"):
        made[family] = tmp_path_factory.mktemp("models") / family
        tiny.build(family).save_pretrained(made[family])
    return made


# -- labels ------------------------------------------------------------------------------------------------------------


def test_the_table_is_the_benchmarks() -> None:
    """Two tables from two sources: the thousand in order, and the 207 by index and id."""
    assert list(TABLE["wnid"]) == sorted(TABLE["wnid"]) and len(TABLE) == 1000
    for row in cats.imagenet_table().itertuples():
        assert TABLE["wnid"][row.imagenet_index] == row.wnid
        assert row.name in TABLE["names"][row.imagenet_index].split(", ")
    # Both larger orders are sorted by id; Google's has two classes more, its outputs 9205 and 15027.
    places = TABLE[TABLE["place_21841"] != ""].astype({"place_21841": int, "place_21843": int})
    assert len(places) == 999 and set(TABLE["wnid"]) - set(places["wnid"]) == {"n04399382"}
    assert places["place_21841"].is_monotonic_increasing and places["place_21843"].is_monotonic_increasing
    later = places["place_21843"] - places["place_21841"]
    np.testing.assert_array_equal(later, np.searchsorted([9205, 15027 - 1], places["place_21841"], side="right"))


SPELLINGS = {
    "wnid": lambda i: TABLE["wnid"][i],
    "wnid and names": lambda i: f"{TABLE['wnid'][i]} {NAMES[i]}",
    "wnid_name": lambda i: f"{TABLE['wnid'][i]}_{NAMES[i].split(',')[0]}",
    "names": lambda i: NAMES[i],
    "first name": lambda i: NAMES[i].split(",")[0],
    "First_Name": lambda i: NAMES[i].split(",")[0].title().replace(" ", "_"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_207_of_a_thousand_labels_get_their_category_and_no_other_does(spelling: str) -> None:
    labels = [SPELLINGS[spelling](i) for i in range(1000)]
    assert behind(labels) == BEHIND
    order = np.random.default_rng(0).permutation(1000)
    found = wnids(behind([labels[i] for i in order]), [TABLE["wnid"][i] for i in order])
    assert found == OWNER


def test_a_background_before_the_thousand_is_seen() -> None:
    assert behind(["background", *NAMES]) == {c: [i + 1 for i in outputs] for c, outputs in BEHIND.items()}


@pytest.mark.parametrize("size", [21841, 21842, 21843])
def test_the_large_orders_are_known_by_their_names(size: int) -> None:
    places = range(1000) if size == 21842 else [int(p) if p else -1 for p in TABLE[f"place_{size}"]]
    labels, ids = [f"thing {i}" for i in range(size)], [""] * size
    for i, place in enumerate(places):
        if place >= 0:
            labels[place], ids[place] = NAMES[i], TABLE["wnid"][i]
    assert wnids(behind(labels), ids) == OWNER
    with pytest.raises(GenclsError, match="no known one"):
        behind(labels[1:] + labels[:1])
    if size == 21841:  # as BEiT's config numbers them: by Google's numbers, two of which are left out
        numbers = [i for i in range(21843) if i not in (9205, 15027)]
        found = outputs_behind(dict(zip(numbers, labels, strict=True)), "net")
        assert wnids(found, ids) == OWNER
        with pytest.raises(GenclsError, match="have gaps"):
            outputs_behind(dict(zip(numbers, labels[1:] + labels[:1], strict=True)), "net")


def test_some_of_the_classes_by_their_ids_make_the_categories_that_they_belong_to() -> None:
    assert behind(["n02504458", "n01443537", "n02123045", "n02504013"]) == {"cat": [2], "elephant": [3, 0]}
    assert behind(["n01443537", "n01484850"]) is None  # fishes: none of the 16
    assert behind(SHAPES) is None


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ([f"LABEL_{i}" for i in range(1000)], r"1000 labels are numbers \('LABEL_0'\)"),
        ([str(i) for i in range(10)], "are numbers"),
        (
            ["wagon" if "beach wagon" in name else name for name in reversed(NAMES)],
            "1 of the 207 classes are not|shared",
        ),
        (["feline" if "tabby" in name else name for name in NAMES], "look like ImageNet's, but 1 of the 207"),
        (["n02123045", "n02504458", "n02123045"], "n02123045 does not have one label"),
        (["n02123045 n02504458", "n02690373"], "does not have one label"),
        (["moon", "star", "moon"], "'moon' stands for several outputs"),
    ],
)
def test_what_would_be_a_guess_is_refused(labels: list[str], why: str) -> None:
    with pytest.raises(GenclsError, match=why) as told:
        behind(labels)
    assert "\n" not in str(told.value) and str(told.value).startswith("net: ")


# -- image classifiers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["resnet", "vit"])
def test_answers_are_those_of_transformers_own_pipeline(folders: dict[str, Path], family: str) -> None:
    observer = gencls.load(str(folders[family]))
    assert isinstance(observer.model, HubClassifier) and observer.classes == cats.CATEGORIES
    theirs = pipeline("image-classification", model=str(folders[family]), top_k=1000)(PICTURES)
    found = observer.classify(IMAGES)
    summed = np.exp(observer.model.summed().log_probabilities(IMAGES, cats.CATEGORIES))
    assert found.probabilities is not None
    for i, said in enumerate(theirs):
        by_name: dict[str, float] = {row["label"]: row["score"] for row in said}
        assert len(said) == 1000
        mean, total = {}, {}
        for category in cats.CATEGORIES:
            p = [by_name[NAMES[int(k)]] for k in cats.imagenet_classes(category)]
            mean[category], total[category] = sum(p) / len(p), sum(p)
        assert found.answers[i] == max(mean, key=mean.__getitem__)
        for k, category in enumerate(cats.CATEGORIES):
            expected = mean[category] / sum(mean.values())
            assert found.probabilities.iloc[i][category] == pytest.approx(expected, rel=1e-4)
            assert summed[i, k] == pytest.approx(total[category] / sum(total.values()), rel=1e-4)
    # What was done is said with the scores.
    told = found.to_dict()
    assert json.loads(str(told["preprocessing"]))["image_processor_type"].startswith(
        {"resnet": "ConvNext", "vit": "ViT"}[family]
    )
    assert told["readout"] == "mean of the softmax over 207 ImageNet classes in 16 categories"


def test_the_whole_image_is_shown_where_the_model_wants_it(folders: dict[str, Path]) -> None:
    """A ViT squeezes a wide image into its square; gencls's own preprocessing would cut off the sides."""
    wide = np.zeros((32, 96, 3), np.uint8)
    other = wide.copy()
    other[:, :20] = 255
    model = zoo.open_folder(folders["vit"], "vit")
    assert isinstance(model, DiscriminativeModel)
    logits = model.logits([wide, other])
    assert (logits[0] - logits[1]).abs().max() > 1e-2


def test_preprocessing_that_names_no_processor_is_the_models_own(folders: dict[str, Path], tmp_path: Path) -> None:
    """As google/vit-base-patch16-224 has it: its means and sizes, and no word on whose they are."""
    shutil.copytree(folders["vit"], tmp_path / "old")
    path = tmp_path / "old" / "preprocessor_config.json"
    told = {k: v for k, v in json.loads(path.read_text()).items() if k != "image_processor_type"}
    path.write_text(json.dumps(told | {"image_mean": [0.4, 0.5, 0.6]}))
    image = np.random.default_rng(2).integers(0, 256, (40, 90, 3), np.uint8)
    ours = zoo.open_folder(tmp_path / "old", "old")
    assert isinstance(ours, DiscriminativeModel)
    network = AutoModelForImageClassification.from_pretrained(tmp_path / "old").eval()
    pixels = AutoImageProcessor.from_pretrained(tmp_path / "old")(Image.fromarray(image), return_tensors="pt")
    with torch.no_grad():
        theirs = network(**pixels).logits
    torch.testing.assert_close(ours.logits([image]).float(), theirs, rtol=1e-4, atol=1e-4)


def test_labels_of_its_own_are_its_classes(tmp_path: Path) -> None:
    network = tiny.build("resnet")
    network.network = type(network.network)(type(network.network.config)(
        embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", id2label={0: "moon", 1: "star", 2: "fish"}
    ))  # fmt: skip
    network.save_pretrained(tmp_path)
    observer = gencls.load(str(tmp_path))
    assert observer.classes == ("moon", "star", "fish")
    assert observer.classify(IMAGES).scores.attrs["readout"] == "softmax over the labels"
    with pytest.raises(GenclsError, match="no label for 'cat'"):
        observer.classify(IMAGES, classes=["cat", "moon"])
    with pytest.raises(GenclsError, match="nothing to sum"):
        observer.model.summed()


def test_a_classifier_trained_here_on_some_of_imagenets_classes_answers_with_categories(tmp_path: Path) -> None:
    """With gencls's own preprocessing, as `gencls train` writes it."""
    made = tiny.build("resnet")
    labels = dict(enumerate(["n02123045", "n02504458", "n01443537", "n02123394"]))
    config = type(made.network.config)(
        embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", id2label=labels
    )
    network = type(made.network)(config)
    network.save_pretrained(tmp_path)
    half = {"magnify": 1, "size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(half))
    observer = gencls.load(str(tmp_path))
    assert observer.classes == ("cat", "elephant")
    square = IMAGES[0][:32, :32]
    with torch.no_grad():
        pixels = torch.from_numpy(square).permute(2, 0, 1)[None].float() / 127.5 - 1
        p = network.eval()(pixels).logits.double().softmax(1)[0].numpy()
    mean = np.array([(p[0] + p[3]) / 2, p[1]])
    found = observer.classify([square])
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities.to_numpy()[0], mean / mean.sum(), rtol=1e-5)


def test_a_network_without_its_classifying_weights_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    network = tiny.build("vit")
    ViTModel(network.network.config).save_pretrained(tmp_path)  # a backbone: the head would be random
    network.processor.save_pretrained(tmp_path)
    with pytest.raises(GenclsError, match=r"classifier\.(weight|bias).*random"):
        gencls.load(str(tmp_path))


def test_pickles_broken_folders_and_broken_numbers_are_named(folders: dict[str, Path], tmp_path: Path) -> None:
    for family in ("resnet", "clip"):
        path = tmp_path / family
        tiny.build(family).save_pretrained(path)
        torch.save(load_file(path / "model.safetensors"), path / "pytorch_model.bin")
        (path / "model.safetensors").unlink()
        with pytest.raises(GenclsError, match=r"only as pickles.*--allow-pickles"):
            gencls.load(str(path))
        ours, theirs = (gencls.load(str(p), allow_pickles=True) for p in (path, folders[family]))
        np.testing.assert_array_equal(ours.classify(IMAGES).weighted, theirs.classify(IMAGES).weighted)
    (tmp_path / "resnet" / "preprocessor_config.json").unlink()
    with pytest.raises(GenclsError, match="no model that transformers can open"):
        zoo.open_folder(tmp_path / "resnet", "net", allow_pickles=True)
    broken = zoo.open_folder(folders["vit"], "vit")
    broken.network.classifier.bias.fill_(float("nan"))
    with pytest.raises(GenclsError, match="NaN"):
        broken.log_probabilities(IMAGES, ("cat", "dog"))


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm is here")
def test_a_model_of_timm_says_that_it_needs_timm(tmp_path: Path) -> None:
    """A folder as timm writes it; with timm and torchvision installed it opens like any other."""
    (tmp_path / "config.json").write_text(
        json.dumps({"architecture": "resnet18", "num_classes": 1000, "pretrained_cfg": {}})
    )
    save_file({"fc.weight": torch.zeros(1)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(GenclsError, match=r"needs a package that is not installed.*timm"):
        gencls.load(str(tmp_path))


# -- CLIP and SigLIP ---------------------------------------------------------------------------------------------------


def test_clip_answers_as_transformers_own_pipeline(folders: dict[str, Path]) -> None:
    """The paper's prompts; the pipeline has code of its own from pictures and names to probabilities."""
    ask = pipeline("zero-shot-image-classification", model=str(folders["clip"]))
    found = gencls.load(str(folders["clip"])).classify(IMAGES)
    theirs = ask(PICTURES, candidate_labels=list(cats.CATEGORIES), hypothesis_template="A bad photo of a {}")
    assert found.probabilities is not None
    for i, said in enumerate(theirs):
        assert found.answers[i] == said[0]["label"]
        for row in said:
            assert found.probabilities.iloc[i][row["label"]] == pytest.approx(row["score"], rel=1e-4)
    assert found.scores.attrs["kind"] == "contrastive" and found.scores.attrs["prompt"] == cats.PROMPT


@pytest.mark.parametrize("family", ["clip", "siglip", "siglip2"])
def test_logits_are_the_networks_own(folders: dict[str, Path], family: str) -> None:
    """One image and prompt at a time, through the processor of the model that was saved."""
    made = tiny.build(family)
    prompts = cats.prompts(["dog", "Cat", "moon"])
    expected = np.zeros((2, 3))
    for i, picture in enumerate(PICTURES):
        for k, prompt in enumerate(prompts):
            if family == "clip":
                given = made.processor(text=[prompt], images=[picture], return_tensors="pt")
            else:  # trained on lower case and 64 tokens, the filling not masked
                pieces = made.processor.tokenizer(prompt.lower())["input_ids"]
                ids = pieces + [made.processor.tokenizer.pad_token_id] * (64 - len(pieces))
                given = {
                    **made.processor.image_processor([picture], return_tensors="pt"),
                    "input_ids": torch.tensor([ids]),
                }
            with torch.no_grad():
                expected[i, k] = made.network.eval()(**given).logits_per_image.item()
    model = zoo.open_folder(folders[family], family)
    assert isinstance(model, ContrastiveModel)
    np.testing.assert_allclose(model.logits(IMAGES, prompts), expected, rtol=1e-4, atol=1e-5)
    odds = np.exp(model.log_probabilities(IMAGES, ["dog", "Cat", "moon"]))
    own = np.exp(expected) if family == "clip" else 1 / (1 + np.exp(-expected))
    np.testing.assert_allclose(odds, own / own.sum(1, keepdims=True), rtol=1e-4)


def test_any_classes_and_prompt_and_records_know_the_prompt(folders: dict[str, Path], tmp_path: Path) -> None:
    observer = gencls.load(str(folders["clip"]))
    plain = observer.classify(IMAGES, classes=["zebra", "oak tree", "jam"])
    other = observer.classify(IMAGES, classes=["zebra", "oak tree", "jam"], prompt="a drawing of {}")
    assert set(plain.answers) <= {"zebra", "oak tree", "jam"}
    assert not np.allclose(plain.weighted, other.weighted)
    with pytest.raises(GenclsError, match="category goes"):
        observer.classify(IMAGES, prompt="no place")
    table = pd.DataFrame({"name": ["a", "b"], "category": "", "condition": "", "texture": ""})
    stimuli = StimulusSet("two", table, lambda i: IMAGES[i], cats.CATEGORIES)
    first = score(observer.model, stimuli, record=tmp_path / "r.zarr.zip", progress=False)
    again = score(observer.model, stimuli, record=tmp_path / "r.zarr.zip", progress=False)
    np.testing.assert_array_equal(first["log_probability"], again["log_probability"])
    with pytest.raises(GenclsError, match="was made with prompt"):
        score(observer.model, stimuli, prompt="A {}", record=tmp_path / "r.zarr.zip", progress=False)


def test_siglips_first_tokenizer_is_asked_as_it_was_trained(tmp_path: Path) -> None:
    """Lower case, no punctuation, 64 tokens, filled up with the end token; from a sentencepiece model made here."""
    sentences = ["a bad photo of a dog", "a quick brown fox jumps over the lazy cat"] * 20
    with (tmp_path / "spiece.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences), model_writer=file, vocab_size=30, minloglevel=2
        )
    made = tiny.build("siglip")
    words = SiglipTokenizer(str(tmp_path / "spiece.model"))
    SiglipProcessor(made.processor.image_processor, words).save_pretrained(tmp_path / "siglip")
    made.network.save_pretrained(tmp_path / "siglip")
    model = zoo.open_folder(tmp_path / "siglip", "siglip")
    assert isinstance(model, ContrastiveModel)
    given = model.words(["A bad Photo, of a dog."])
    pieces = words("a bad photo of a dog")["input_ids"]
    assert given.keys() == {"input_ids"} and len(pieces) > 6
    assert given["input_ids"].tolist() == [pieces + [words.pad_token_id] * (64 - len(pieces))]


def test_a_world_scores_it_and_finds_its_record_again(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENCLS_CACHE", str(tmp_path))
    world = gencls.world("shapes")
    stimuli = world.stimuli("photos", 2)
    first, again = (world.scores(stimuli, str(folders["clip"])) for _ in range(2))
    assert (first.origin, again.origin) == ("computed", "cached")
    np.testing.assert_array_equal(first.scores["log_probability"], again.scores["log_probability"])
    assert world.scores(stimuli, str(folders["clip"]), prompt="A {}").origin == "computed"


def test_a_fine_tuned_clip_is_a_classifier_and_clip_itself_is_not(tmp_path: Path) -> None:
    for architectures, kind in (
        (["CLIPForImageClassification"], "discriminative"),
        (["CLIPModel"], "contrastive"),
        (None, "contrastive"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", "architectures": architectures}))
        assert zoo.kind(tmp_path) == kind


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_documented_commands_classify_a_photo(tmp_path: Path) -> None:
    """As book/models_of_the_benchmark.md has them, in a folder of the user's own."""
    page = (Path(__file__).parents[2] / "book" / "models_of_the_benchmark.md").read_text()
    commands = [line for line in page.splitlines() if "./tiny-" in line and line.startswith(("python -m", "gencls"))]
    assert [line.split()[0] for line in commands] == ["python", "gencls"] * 2
    PICTURES[0].save(tmp_path / "dog.jpg")
    for line in commands:
        words = line.replace("gencls classify", "-m gencls.cli classify").split()
        done = subprocess.run(
            [sys.executable, *(w for w in words if w != "python")], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        if words[1] == "gencls.cli":
            header, row = done.stdout.splitlines()
            assert header.split() == ["image", "answer", "probability", "next"] and row.startswith("dog.jpg")
            assert "warning" not in done.stderr.lower() and "torchvision" not in done.stderr


def test_the_table_has_all_52_and_every_id_is_one() -> None:
    from gencls.models.hub import parse

    table = pd.read_csv(Path(cats.__file__).parent / "data" / "benchmark_models.csv", keep_default_na=False)
    assert len(table) == 52 and table["model"].is_unique
    assert set(table["weights"]) == {"same", "same checkpoint, converted", "other training", "none"}
    for row in table.itertuples():
        assert bool(row.id) == (row.weights != "none") and bool(row.opens_with) == bool(row.id) == bool(row.seen), (
            row.model
        )
        if row.id:
            parse(str(row.id))


def test_a_label_that_stands_twice_is_one_class() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 3))
    torch.nn.init.zeros_(network[1].weight)
    network[1].bias.data = torch.tensor([0.0, 5.0, 2.0])
    model = DiscriminativeModel(network, "cranes", ("crane", "crane", "dog"), 1)
    found = np.exp(model.log_probabilities([np.zeros((1, 1, 3), np.uint8)], ["crane", "dog"]))[0]
    odds = np.exp([0.0, 5.0, 2.0])
    np.testing.assert_allclose(found, [odds[:2].sum() / odds.sum(), odds[2] / odds.sum()])
