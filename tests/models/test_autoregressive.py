"""The likelihood is the one by which the model's own `generate` would draw those tokens, and the prompt the one it would draw them after.

Janus and Emu3 are small models of the real transformers classes, with random weights.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from transformers import (
    Emu3Config,
    Emu3ForConditionalGeneration,
    Emu3Processor,
    JanusConfig,
    JanusForConditionalGeneration,
    JanusImageProcessorPil,
    LogitsProcessor,
    LogitsProcessorList,
)

import gencls
from gencls import categories as cats
from gencls.analyses.decisions import denoise
from gencls.errors import GenclsError
from gencls.likelihood import records
from gencls.likelihood.scoring import differ, score
from gencls.likelihood.weightings import answers, probabilities, weighted
from gencls.models import hub, tiny, zoo
from gencls.models.autoregressive import AutoregressiveModel, Emu3Adapter, JanusAdapter
from gencls.stimuli.sets import StimulusSet

FAMILIES = ["janus", "emu3"]
CLASSES = ["cat", "keyboard", "dog", "elephant", "car"]  # prompts of two lengths
PROMPTS = cats.prompts(CLASSES)
TOKENS, CODES = 16, 48


def _made(family: str, **options: Any) -> AutoregressiveModel:
    made = tiny.build(family)
    return AutoregressiveModel(made.network, family, made.processor, **options)


@functools.cache
def _model(family: str) -> AutoregressiveModel:
    return _made(family)


def _images(n: int, size: int = 40, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (n, size, size + 8, 3), np.uint8))


def _codes(n: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, CODES, (n, TOKENS)))


# -- the model's own generate ------------------------------------------------------------------------------------------


class _Forced(LogitsProcessor):
    """Lets generation draw the tokens that are wanted, and keeps the log-probability that each had."""

    def __init__(self, wanted: Tensor) -> None:
        self.wanted, self.kept = wanted, list[Tensor]()

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        scores = scores[: len(self.wanted)]  # Janus appends the unconditional half, whatever the guidance
        now = self.wanted[:, [len(self.kept)]]
        self.kept.append(torch.log_softmax(scores.double(), -1).gather(1, now)[:, 0])
        return torch.full_like(scores, -torch.inf).scatter(1, now, 0.0)


@contextlib.contextmanager
def _embedded(network: Any) -> Iterator[list[Tensor]]:
    """The token ids of every call of the text's embeddings."""
    seen: list[Tensor] = []
    handle = network.get_input_embeddings().register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    try:
        yield seen
    finally:
        handle.remove()


def _generate_janus(model: AutoregressiveModel, prompts: list[str], codes: Tensor) -> tuple[Tensor, Tensor]:
    """As the model's card has it: the chat template, the processor for images, `generate` for images."""
    processor, network = model.adapter.processor, model.network
    turns = [[{"role": "user", "content": [{"type": "text", "text": prompt}]}] for prompt in prompts]
    texts = [processor.apply_chat_template(turn, add_generation_prompt=True) for turn in turns]
    inputs = processor(text=texts, generation_mode="image", return_tensors="pt", padding=True)
    force = _Forced(codes)
    drawn = network.generate(
        **inputs,
        generation_mode="image",
        guidance_scale=1,
        do_sample=False,
        max_length=inputs["input_ids"].shape[1] + TOKENS,
        logits_processor=LogitsProcessorList([force]),
    )
    assert torch.equal(drawn, codes)
    return inputs["input_ids"], torch.stack(force.kept, 1)


def _generate_emu3(model: AutoregressiveModel, prompts: list[str], codes: Tensor) -> tuple[Tensor, Tensor]:
    """As the model's card has it: which tokens are allowed is a function of the place in the image."""
    processor, network = model.adapter.processor, model.network
    processor.image_area = 32 * 32
    inputs = processor(text=prompts, return_for_image_generation=True, return_tensors="pt", padding=True)
    height, width = inputs.pop("image_sizes")[0]
    assert (height, width) == (4, 4)
    tokens = processor.tokenizer
    end_of_line = tokens.convert_tokens_to_ids("<|extra_200|>")
    visual = tokens.convert_tokens_to_ids([f"<|visual token {i:06d}|>" for i in range(CODES)])

    def allowed(_: int, ids: Tensor) -> list[int]:
        place = len(ids) - int((ids == tokens.image_wrapper_token_id).nonzero()[0])
        return [end_of_line] if int(place) % (width + 1) == 0 else visual

    lines = torch.tensor(visual)[codes].unflatten(1, (height, width))
    wanted = torch.cat([lines, torch.full((*lines.shape[:2], 1), end_of_line)], -1).flatten(1)
    force = _Forced(wanted)
    drawn = network.generate(
        **inputs,
        do_sample=False,
        min_new_tokens=wanted.shape[1],
        max_new_tokens=wanted.shape[1],
        prefix_allowed_tokens_fn=allowed,
        logits_processor=LogitsProcessorList([force]),
    )
    assert torch.equal(drawn[:, -wanted.shape[1] :], wanted)
    each = torch.stack(force.kept, 1).unflatten(1, (height, width + 1))
    assert (each[..., -1] == 0).all()  # an end of line is certain
    return inputs["input_ids"], each[..., :-1].flatten(1)


GENERATE = {"janus": _generate_janus, "emu3": _generate_emu3}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_likelihood_is_the_one_that_the_models_own_generate_adds_up_token_by_token(family: str) -> None:
    model, codes = _model(family), _codes(2)
    ours = model.log_likelihoods(codes, model.read(PROMPTS))
    assert ours.shape == (2, len(CLASSES), TOKENS) and ours.dtype == np.float32
    for k, prompt in enumerate(PROMPTS):
        _, theirs = GENERATE[family](model, [prompt, prompt], codes)
        np.testing.assert_allclose(ours[:, k], theirs, atol=2e-5)
    assert np.ptp(ours.sum(-1), axis=1).min() > 0.1  # the prompt makes a difference
    # Their batch of prompts of several lengths is padded, ours is not.
    _, padded = GENERATE[family](model, PROMPTS, codes[:1].repeat(len(PROMPTS), 1))
    np.testing.assert_allclose(ours[0], padded, atol=2e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_are_token_for_token_what_generate_embeds(family: str) -> None:
    model = _model(family)
    for prompt in PROMPTS:
        with _embedded(model.network) as seen:
            asked, _ = GENERATE[family](model, [prompt], _codes(1))
        assert torch.equal(seen[0][0], asked[0])
        assert torch.equal(model.adapter.prompt(prompt), asked[0])


def test_prompts_read_as_the_models_cards_have_them() -> None:
    said = {
        f: _model(f).adapter.processor.tokenizer.convert_ids_to_tokens(_model(f).adapter.prompt("a cat"))
        for f in FAMILIES
    }
    begin = "<｜begin▁of▁sentence｜>"
    assert "".join(said["janus"]) == f"{begin}<|User|>: a cat\n\n<|Assistant|>:<begin_of_image>"
    assert "".join(said["emu3"]) == "<|extra_203|>a cat<|image start|>4*4<|image token|>"


# -- what the image becomes --------------------------------------------------------------------------------------------


def test_emu3s_tokens_are_those_that_it_makes_of_an_image_in_a_conversation() -> None:
    model, image = _model("emu3"), _images(1)[0]
    square = Image.fromarray(image[:, 4:44]).resize((32, 32), Image.Resampling.BICUBIC)
    inputs = model.adapter.processor.image_processor(images=[square], return_tensors="pt")
    theirs = model.network.model.get_image_tokens(**inputs)
    with _embedded(model.network) as seen:
        model.adapter.embed(model.encode([image]))
    assert torch.equal(seen[0][0], theirs)  # ends of lines too
    # … and its own decoder reads the codes back from them.
    back = model.network.model.vocabulary_mapping.convert_bpe2img(theirs.view(4, 5))
    assert torch.equal(back.flatten().long(), model.encode([image])[0])


def test_januss_tokens_are_the_entries_nearest_to_what_its_own_decoder_looks_up() -> None:
    """DeepSeek's quantizer: latents and codebook at length 1, then the nearest."""
    model, image = _model("janus"), _images(1)[0]
    square = Image.fromarray(image[:, 4:44]).resize((32, 32), Image.Resampling.BICUBIC)
    inputs = model.adapter.processor.image_processor(images=[square], return_tensors="pt")
    vq = model.network.model.vqmodel
    latents = vq.quant_conv(vq.encoder(inputs["pixel_values"]))[0].flatten(1).T
    entries = vq.quantize.get_codebook_entry(torch.arange(CODES).view(3, TOKENS)).permute(0, 2, 3, 1).reshape(CODES, -1)
    nearest = [int(((latent / latent.norm() - entries) ** 2).sum(1).argmin()) for latent in latents]
    assert model.encode([image])[0].tolist() == nearest
    assert len(set(nearest)) > 3


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_is_prepared_as_generation_undoes_it(family: str) -> None:
    """What the encoder gets, the processor's own postprocessing turns back into the image."""
    model = _model(family)
    image = np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8)
    seen: list[Tensor] = []
    encoder = model.network.model.vqmodel.encoder
    handle = encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model.encode([image])
    handle.remove()
    pixels = seen[0] if family == "janus" else seen[0][:, 0]  # Emu3 repeats an image in time
    back = model.adapter.processor.postprocess([pixels[0].numpy()], return_tensors="PIL.Image.Image")["pixel_values"]
    assert np.abs(np.asarray(back[0]).astype(int) - image).max() <= 1
    assert "32" in model.preprocessing and "0.5" in model.preprocessing


def test_the_page_says_what_the_real_configurations_make() -> None:
    """Networks of the published sizes, without weights."""
    with torch.device("meta"):
        large = JanusForConditionalGeneration(JanusConfig())
        words = {f"<|visual token {i:06d}|>": 151854 + i for i in range(32768)}
        larger = Emu3ForConditionalGeneration(Emu3Config(vocabulary_map={**words, "<|extra_200|>": 151846}))
    janus = JanusAdapter(large, SimpleNamespace(image_processor=JanusImageProcessorPil()))
    emu3 = Emu3Adapter(larger, SimpleNamespace(image_area=Emu3Processor.image_area))
    text = (Path(__file__).parents[2] / "book" / "add_a_model.md").read_text()
    for adapter in (janus, emu3):
        assert f"{adapter.grid[0]} × {adapter.grid[1]}, from {adapter.size} pixels" in text
        assert len(adapter.codes) == math.prod(adapter.grid)
    assert emu3.words.tolist() == list(range(151854, 151854 + 32768))


# -- the mathematics ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_that_knows_nothing_gives_every_code_its_share(family: str) -> None:
    """−log 48 a token: no other word of the vocabulary takes part."""
    model = _made(family)
    head = model.network.lm_head if family == "emu3" else model.network.model.generation_head.vision_head
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    values = model.log_likelihoods(_codes(2), model.read(PROMPTS))
    np.testing.assert_allclose(values, -math.log(CODES), rtol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=8)
@given(place=st.integers(0, TOKENS - 1), seed=st.integers(0, 99))
def test_probabilities_of_all_codes_at_a_place_sum_to_one_and_the_past_is_not_told(
    family: str, place: int, seed: int
) -> None:
    model = _model(family)
    every = _codes(1, seed).repeat(CODES, 1)
    every[:, place] = torch.arange(CODES)
    values = model.log_likelihoods(every, model.read(PROMPTS[:1]))[:, 0]
    np.testing.assert_allclose(np.exp(values[:, place].astype(float)).sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(values[:, :place], np.repeat(values[:1, :place], CODES, 0), atol=1e-5)
    if place < TOKENS - 1:
        assert np.ptp(values[:, place + 1]) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=6)
@given(budget=st.integers(1, 2000), order=st.permutations(range(5)), images=st.permutations(range(3)))
def test_batches_and_orders_change_nothing(family: str, budget: int, order: list[int], images: list[int]) -> None:
    model, pictures = _model(family), _images(3)
    whole = model.log_likelihoods(model.encode(pictures), model.read(PROMPTS))
    small = AutoregressiveModel(model.network, family, model.adapter.processor, budget=budget)
    codes = small.encode([pictures[i] for i in images])
    assert torch.equal(codes, model.encode(pictures)[images])
    changed = small.log_likelihoods(codes, small.read([PROMPTS[k] for k in order]))
    np.testing.assert_allclose(changed, whole[np.ix_(images, order)], atol=1e-5)
    alone = model.log_likelihoods(codes[:1], model.read([PROMPTS[order[0]]]))
    np.testing.assert_allclose(alone[0, 0], whole[images[0], order[0]], atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_forward_pass_keeps_to_its_budget(family: str) -> None:
    model = _made(family, budget=150)
    prompts = model.read(PROMPTS)
    sizes: list[int] = []

    def note(_module: Any, _args: Any, given: dict[str, Any]) -> None:
        rows, fed = given["inputs_embeds"].shape[:2]
        sizes.append(rows * (fed + given["past_key_values"].get_seq_length()))

    handle = model.adapter.decoder.register_forward_pre_hook(note, with_kwargs=True)
    model.log_likelihoods(_codes(4), prompts)
    handle.remove()
    assert max(sizes) <= 150
    assert sum(sizes) > 4 * len(CLASSES) * TOKENS


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_rounds_the_decoder_and_not_the_codes(family: str) -> None:
    exact, rounded = _model(family), _made(family, dtype="bfloat16")
    pictures = _images(2)
    assert torch.equal(exact.encode(pictures), rounded.encode(pictures))
    ours, theirs = (m.log_likelihoods(m.encode(pictures), m.read(PROMPTS)).sum(-1) for m in (rounded, exact))
    np.testing.assert_allclose(ours, theirs, rtol=0.03)
    assert not np.array_equal(ours, theirs)


# -- scores, records, decisions ----------------------------------------------------------------------------------------


def _stimuli(n: int = 3) -> StimulusSet:
    pictures = _images(n, seed=5)
    table = pd.DataFrame({"name": [f"s{i}" for i in range(n)], "category": "cat", "condition": "", "texture": ""})
    return StimulusSet("some", table, lambda i: pictures[i], CLASSES)


def test_a_small_record_is_read_and_added_to(tmp_path: Path) -> None:
    model, stimuli, path = _model("janus"), _stimuli(), tmp_path / "some.zarr.zip"
    records.write(records.by_rows(score(model, stimuli[:2], progress=False)), path)
    scores = score(model, stimuli, record=path, progress=False)
    assert scores["log_likelihood"].shape == (3, len(CLASSES), 4)
    assert differ(score(model, stimuli, progress=False), scores) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_a_record_keeps_every_token_and_its_place(family: str, tmp_path: Path) -> None:
    model, path = _model(family), tmp_path / "some.zarr.zip"
    scores = score(model, _stimuli(), record=path, progress=False)
    assert scores["log_likelihood"].dims == ("stimulus", "class", "token")
    assert scores["row"].values.tolist() == [i // 4 for i in range(TOKENS)]
    assert scores["column"].values.tolist() == [i % 4 for i in range(TOKENS)]
    assert "t" not in scores.coords and scores.attrs["kind"] == "autoregressive"
    assert scores.attrs["prompt"] == cats.PROMPT and scores.attrs["plan"] == "" == scores.attrs["seed"]
    kept = records.read(path)
    assert kept["log_likelihood"].equals(scores["log_likelihood"]) and differ(scores, kept) == 0
    with pytest.raises(GenclsError, match="made with prompt"):
        score(model, _stimuli(), record=path, prompt="a sketch of a {}", progress=False)
    totals = scores["log_likelihood"].values.astype(float).sum(-1)
    small = records.by_rows(scores)
    assert small["row"].values.tolist() == [0, 1, 2, 3] and records.by_rows(small) is small
    np.testing.assert_allclose(small["log_likelihood"].sum("token"), totals, rtol=1e-5)
    assert differ(scores, small) < 1e-5 and differ(scores.isel(stimulus=[0]), small.isel(stimulus=[1])) > 1e-3
    for by in ("exp(-7t)", "uniform", "snr"):  # no t, so that no weighting can matter
        np.testing.assert_allclose(weighted(scores, by), -totals)
        assert answers(scores, by) == [CLASSES[k] for k in totals.argmax(1)]
    posterior = np.exp(totals - totals.max(1, keepdims=True))
    np.testing.assert_allclose(probabilities(scores), posterior / posterior.sum(1, keepdims=True), rtol=1e-6)


def test_a_run_that_was_cut_off_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = _model("janus"), tmp_path / "some.zarr.zip"
    stimuli = _stimuli(10)  # two chunks
    seen = []
    encode = model.encode

    def cut(images: list[np.ndarray]) -> Tensor:
        seen.append(len(images))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return encode(images)

    monkeypatch.setattr(model, "encode", cut)
    with pytest.raises(KeyboardInterrupt):
        score(model, stimuli, record=path, progress=False)
    resumed = score(model, stimuli, record=path, progress=False)
    assert seen == [8, 2, 2]
    assert resumed["log_likelihood"].equals(score(model, stimuli, progress=False)["log_likelihood"])


# -- the doors ---------------------------------------------------------------------------------------------------------


def test_the_documented_commands_make_a_folder_that_classifies_a_photo(tmp_path: Path) -> None:
    """As book/add_a_model.md has it; the folder is opened by what its config.json says."""
    text = (Path(__file__).parents[2] / "book" / "add_a_model.md").read_text()
    commands = [line for line in text.splitlines() if "tiny-janus" in line and line.startswith(("python -m", "gencls"))]
    assert [line.split()[0] for line in commands] == ["python", "gencls"]
    Image.fromarray(_images(1)[0]).save(tmp_path / "dog.jpg")
    for line in commands:
        words = line.replace("gencls classify", "-m gencls.cli classify").split()
        done = subprocess.run(
            [sys.executable, *(w for w in words if w != "python")], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("dog.jpg")
    # The page's own lines on where a class was found.
    code = next(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "tiny-janus" in block)
    found: dict[str, Any] = {}
    with contextlib.chdir(tmp_path):
        exec(code, found)
    assert found["where"].dims == ("row", "column") and found["where"].shape == (4, 4)
    each = found["found"].scores["log_likelihood"].values[0]
    np.testing.assert_array_equal(found["where"].values, (each[0] - each[1]).reshape(4, 4))
    folder = tmp_path / "tiny-janus"
    assert zoo.kind(folder) == "autoregressive"
    opened = gencls.load(str(folder))
    direct = _model("janus")
    ours = opened.classify(_images(2), classes=CLASSES).scores["log_likelihood"]
    np.testing.assert_allclose(ours, direct.log_likelihoods(direct.encode(_images(2)), direct.read(PROMPTS)), atol=1e-5)
    # What the hub sends of it is all of it.
    names = [path.name for path in folder.iterdir()]
    assert "chat_template.jinja" in names and all(any(fnmatch(n, p) for p in hub._CLASSIFIER) for n in names)
    # The prompt is part of what a record is bound to.
    before = zoo.weights_digest(folder)
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'][0]['text'] }}")
    assert zoo.weights_digest(folder) != before
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(GenclsError, match="no chat template"):
        zoo.open_folder(folder, "janus")


def test_emu3_is_opened_from_its_folder(tmp_path: Path) -> None:
    tiny.build("emu3").save_pretrained(tmp_path)
    opened, direct = gencls.load(str(tmp_path)), _model("emu3")
    found = opened.classify(_images(2), classes=CLASSES)
    ours = found.scores["log_likelihood"]
    np.testing.assert_allclose(ours, direct.log_likelihoods(direct.encode(_images(2)), direct.read(PROMPTS)), atol=1e-5)
    assert found.answers == tuple(CLASSES[k] for k in ours.values.sum(-1).argmax(1))
    with pytest.raises(GenclsError, match="no diffusion model"):
        denoise(str(tmp_path), _stimuli(), [0.5])


def test_what_cannot_be_asked_is_said(tmp_path: Path) -> None:
    made = tiny.build("janus")
    with pytest.raises(GenclsError, match="budget is 0"):
        _made("janus", budget=0)
    with pytest.raises(GenclsError, match="'float64' is not"):
        _made("janus", dtype="float64")
    with pytest.raises(GenclsError, match="no adapter for a ViTForImageClassification; known are emu3, janus"):
        AutoregressiveModel(tiny.build("vit").network, "vit", made.processor)
    made.processor.image_processor.size = {"height": 64, "width": 64}
    with pytest.raises(GenclsError, match=r"64 pixels make \(8, 8\) tokens.*generates \(4, 4\)"):
        AutoregressiveModel(made.network, "janus", made.processor).encode(_images(1))
    broken = _made("emu3")
    torch.nn.init.constant_(broken.network.lm_head.weight, torch.nan)
    with pytest.raises(GenclsError, match="NaN or infinity"):
        broken.log_likelihoods(_codes(1), broken.read(PROMPTS))
