"""Image tokens and the transformer on them: one resumable run, saved as an ordinary Janus that gives the same likelihoods."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gencls.categories import prompts
from gencls.likelihood.plans import Exhaustive
from gencls.likelihood.scoring import score
from gencls.models.autoregressive import AutoregressiveModel, load_autoregressive
from gencls.models.zoo import open_folder
from gencls.stimuli import tiny_imagenet
from gencls.stimuli.shapes import SHAPES, ShapesWorld
from gencls.stimuli.tiny_imagenet import TinyImageNet
from gencls.training import autoregressive, loop, publishing
from gencls.training.autoregressive import CODES, Janus, log_likelihoods, quantized, train_tokens
from gencls.training.data import Photographs, Photos
from gencls.training.pixel import PHOTO_TEXTS
from gencls.training.recipes import RECIPES, train
from gencls.training.samples import draw

TINY = replace(RECIPES["shapes/ar"], steps=5, first=4, batch=4, width=64, depth=(1,), photos=16)
EXAMINED = {"in_distribution_accuracy": dict.fromkeys(("value", "low", "high", "n"), 0)}
CLASSES = ["star", "heart", "moon"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "examine", lambda *_: EXAMINED)
        return train("shapes/ar", tmp_path_factory.mktemp("ar") / "model", given=TINY)


@pytest.fixture(scope="module")
def opened(folder: Path) -> AutoregressiveModel:
    return load_autoregressive(folder, "shapes/ar")


def _images(n: int) -> list[np.ndarray]:
    return [ShapesWorld().photo("train", i) for i in range(n)]


def _trained(model: AutoregressiveModel, codes: Tensor, captions: list[str]) -> Tensor:
    """The likelihoods as training adds them up."""
    words, counted = Janus(model.network, model.adapter.processor).prompts(captions, 14)
    with torch.no_grad():
        return log_likelihoods(model.network, words, counted, codes)


def test_what_is_saved_gives_the_likelihoods_that_were_trained(opened: AutoregressiveModel) -> None:
    asked = [
        *prompts(CLASSES),
        "a small photo of a star",
    ]  # of several lengths: training fills them up, scoring does not
    codes = opened.encode(_images(2))
    ours = opened.log_likelihoods(codes, opened.read(asked))
    for k, prompt in enumerate(asked):
        np.testing.assert_allclose(ours[:, k], _trained(opened, codes, [prompt] * 2), atol=1e-4)
    assert np.ptp(ours.sum(-1), axis=1).min() > 0  # the prompt makes a difference


def test_a_caption_in_training_is_token_for_token_the_prompt_of_the_adapter(opened: AutoregressiveModel) -> None:
    words, counted = Janus(opened.network, opened.adapter.processor).prompts(["A bad photo of a star"], 12)
    assert torch.equal(words[0][counted[0].bool()], opened.adapter.prompt("A bad photo of a star"))
    said = opened.adapter.processor.tokenizer.convert_ids_to_tokens(words[0][counted[0].bool()])
    assert " ".join(said) == "[start] a bad photo of a star [begin]"


def test_a_picture_is_written_token_by_token_by_the_likelihoods_that_are_scored(opened: AutoregressiveModel) -> None:
    """Where the network is all but sure, what is drawn is what is likeliest; captions of several lengths, of which the short are filled up."""
    janus = Janus(copy.deepcopy(opened.network), opened.adapter.processor)
    with torch.no_grad():
        janus.network.model.generation_head.vision_head.weight.mul_(1e5)
        janus.network.model.generation_head.vision_head.bias.mul_(1e5)
    asked = ["a star", "a small photo of a heart"]
    codes = janus.write(asked, torch.Generator().manual_seed(0))
    assert codes.shape == (2, janus.grid**2)
    likely = log_likelihoods(janus.network, *janus.prompts(asked, 14), codes)
    assert likely.exp().mean() > 0.95  # but for ties
    images = janus.draw(asked, torch.Generator().manual_seed(0))
    with torch.no_grad():
        decoded = janus.network.decode_image_tokens(codes)
    np.testing.assert_allclose(images * 2 - 1, decoded.clamp(-1, 1), atol=1e-5)


def test_guidance_prefers_what_a_caption_says_more_than_all_of_them_do(opened: AutoregressiveModel) -> None:
    """Under all but endless guidance each token is the one whose likelihood ratio to the mixture of the captions is the largest."""
    janus = Janus(copy.deepcopy(opened.network), opened.adapter.processor)
    asked = ["a star", "a small photo of a heart", "a moon"]
    codes = janus.write(asked, torch.Generator().manual_seed(0), guidance=1e7)
    assert len({tuple(row) for row in codes.tolist()}) == 3
    for picture, place in ((0, 0), (1, 1), (2, 40)):
        each = []
        for caption in asked:
            every = codes[picture].repeat(CODES, 1)
            every[:, place] = torch.arange(CODES)
            values = _trained(opened, every, [caption] * CODES)
            each.append((values[0, :place].sum(), values[:, place]))
        posterior = torch.stack([before for before, _ in each]).log_softmax(0)
        mixed = (posterior[:, None] + torch.stack([after for _, after in each])).logsumexp(0)
        ratio = each[picture][1] - mixed
        assert ratio[codes[picture, place]] > ratio.max() - 1e-5 and ratio.max() > ratio.quantile(0.9) + 1e-5


def test_guidance_among_one_caption_changes_nothing(opened: AutoregressiveModel) -> None:
    janus = Janus(opened.network, opened.adapter.processor)
    plain, guided = (janus.write(["a star"], torch.Generator().manual_seed(0), g) for g in (1.0, 5.0))
    assert torch.equal(plain, guided)


def test_a_sheet_of_a_network_in_training_leaves_it_in_training(opened: AutoregressiveModel) -> None:
    janus = Janus(copy.deepcopy(opened.network).train(), opened.adapter.processor)
    first, again = (draw(janus, ["a star"], seed=3) for _ in range(2))
    assert first.shape == (1, 2, 32, 32, 3) and np.array_equal(first, again)
    assert janus.network.training
    assert not np.array_equal(first[:, 1], draw(janus, ["a star"], seed=5)[:, 1])


def test_a_token_in_training_is_that_of_the_adapter(opened: AutoregressiveModel) -> None:
    pictures = _images(8)
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        codes = quantized(opened.network.model.vqmodel, pixels)[2].flatten(1)
    assert (
        codes == opened.encode(pictures)
    ).float().mean() > 0.99  # rounding in a batch may turn a code into its neighbour


def test_the_likelihoods_of_all_codes_at_a_place_sum_to_one(opened: AutoregressiveModel) -> None:
    place = 37
    codes = opened.encode(_images(1)).repeat(CODES, 1)
    codes[:, place] = torch.arange(CODES)
    values = _trained(opened, codes, ["a star"] * CODES)
    assert values[:, place].exp().sum() == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(values[:, :place], values[:1, :place].expand(CODES, -1), atol=1e-5, rtol=0)


def test_the_folder_is_small_half_precise_and_draws(folder: Path, opened: AutoregressiveModel) -> None:
    weights = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    unused = sum(t.numel() for name, t in weights.items() if "vision_model" in name or ".aligner" in name)
    assert unused < 500
    processor, network = opened.adapter.processor, opened.network
    inputs = processor(text=["a star"], generation_mode="image", return_tensors="pt")
    given = {"generation_mode": "image", "do_sample": True, "guidance_scale": 2, "max_length": 8**2 + 8}
    with torch.no_grad():
        drawn = network.decode_image_tokens(network.generate(**inputs, **given))
    assert drawn.shape == (1, 32, 32, 3)


@pytest.mark.parametrize("stage", ["_token_loss", "log_likelihoods"])
def test_a_run_killed_in_either_stage_ends_in_the_same_weights(
    stage: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(publishing, "examine", lambda *_: EXAMINED)
    loss = getattr(autoregressive, stage)
    calls = []

    def killed(*given: object) -> Tensor:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return loss(*given)

    monkeypatch.setattr(autoregressive, stage, killed)
    out = tmp_path / "model"
    with pytest.raises(KeyboardInterrupt):
        train("shapes/ar", out, given=TINY)
    assert not out.exists()
    train("shapes/ar", out, given=TINY)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "model-samples"]
    whole, resumed = (load_file(each / "model.safetensors") for each in (folder, out))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_tokens_come_to_say_what_is_in_an_image(tmp_path: Path) -> None:
    """Trained for a moment, both decoders draw better than the mean colour, with many codes."""
    photos = Photos(ShapesWorld(), 64)
    made = autoregressive.janus(0, width=64, depth=1, side=32)
    vq = made.network.model.vqmodel
    train_tokens(vq, photos, loop.Run(40, 16, 0, tmp_path / "c.checkpoint"))
    pixels = photos.images.permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        codes = quantized(vq, pixels)[2].flatten(1)
        error = (vq.decode(codes) - pixels).square().mean()
    assert error < pixels.var(dim=(0, 2, 3)).mean()
    assert len(codes.unique()) > 30


def test_natural_ar_answers_with_its_categories(tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = replace(RECIPES["natural/ar"], steps=2, first=2, batch=2, width=64, depth=(1,))
    everything = Photographs.__init__

    def few(self: Photographs, world: TinyImageNet, side: int = tiny_imagenet.SIDE) -> None:
        everything(self, world, side)
        self.images, self.labels = self.images[::900], self.labels[::900]

    monkeypatch.setattr(Photographs, "__init__", few)
    folder = train("natural/ar", tmp_path / "model", given=given)
    photos = TinyImageNet().stimuli(n=2, split="dev")
    scores = score(open_folder(folder, "natural/ar"), photos, plan=Exhaustive(2), progress=False)
    assert tuple(scores["class"].values) == tiny_imagenet.NATURAL
    assert scores["log_likelihood"].shape == (2, 11, 16**2)
    assert "Tiny-ImageNet" in (folder / "README.md").read_text()
    words = autoregressive._words(PHOTO_TEXTS)
    longest = max(
        len(words(f"a close up photo of a {name}[begin]").input_ids)
        for c in tiny_imagenet.classes(80)
        for name in c.names
    )
    assert longest <= autoregressive._LONGEST


def test_shapes_captions_fit(opened: AutoregressiveModel) -> None:
    words = opened.adapter.processor.tokenizer
    assert (
        max(len(words(f"a low resolution photo of a {name}[begin]").input_ids) for name in SHAPES)
        <= autoregressive._LONGEST
    )
