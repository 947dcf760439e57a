"""Training: a run that was interrupted ends in the same weights, and leaves an ordinary folder."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from gencls.categories import prompts
from gencls.downloads import alone
from gencls.errors import GenclsError
from gencls.likelihood.plans import Exhaustive
from gencls.likelihood.scoring import score
from gencls.models.pixel import PatchClassifier, PixelPipeline
from gencls.models.zoo import open_folder
from gencls.stimuli import tiny_imagenet
from gencls.stimuli.tiny_imagenet import TinyImageNet
from gencls.training import loop, recipes
from gencls.training.clip import processor
from gencls.training.data import Photographs
from gencls.training.recipes import RECIPES, Recipe, recipe, train

TINY = {
    "shapes/resnet": replace(RECIPES["shapes/resnet"], steps=12, batch=8, width=16, photos=64),
    "shapes/pixel": replace(RECIPES["shapes/pixel"], steps=8, batch=8, width=64, photos=64),
    "drivers/flow-x0": replace(RECIPES["drivers/flow-x0"], steps=8, batch=8, width=64, photos=64),
    "drivers/sentences": replace(RECIPES["drivers/sentences"], steps=8, batch=8, width=64, photos=64),
    "drivers/denoising-classifier": replace(
        RECIPES["drivers/denoising-classifier"], steps=8, batch=8, width=64, photos=64
    ),
}
NATURAL = {
    name: replace(RECIPES[f"natural/{name}"], steps=4, batch=4, width=64, depth=depth)
    for name, depth in {
        "pixel": (1, 1),
        "resnet": (1, 1),
        "resnet-noise": (1, 1),
        "vit": (1,),
        "clip": (1,),
        "denoising-classifier": (1,),
    }.items()
}


@cache
def _photographs() -> Photographs:
    return Photographs(TinyImageNet())


@pytest.fixture
def quick(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photographs are read once for all tests, and networks not compiled, which takes longer than a few steps."""
    monkeypatch.setattr(recipes, "pool", lambda *_: _photographs())
    monkeypatch.setattr(loop.shutil, "which", lambda _: None)


def weights(folder: Path) -> dict[str, Tensor]:
    """Every weight in a model's folder."""
    return {f"{p.relative_to(folder)} {n}": w for p in folder.rglob("*.safetensors") for n, w in load_file(p).items()}


@pytest.mark.parametrize("name", NATURAL)
def test_a_model_of_the_natural_world_answers_with_its_categories(name: str, tmp_path: Path, quick: None) -> None:
    folder = train(f"natural/{name}", tmp_path / "model", given=NATURAL[name])
    assert {w.dtype for w in weights(folder).values()} - {torch.int64} == {torch.float16}
    photos = TinyImageNet().stimuli(n=3, split="dev")
    scores = score(open_folder(folder, name), photos, plan=Exhaustive(2), progress=False)
    assert tuple(scores["class"].values) == tiny_imagenet.NATURAL
    values = scores["error" if name in ("pixel", "denoising-classifier") else "log_probability"]
    assert np.isfinite(values).all()
    assert (values.std("class") > 0).all()
    assert "Tiny-ImageNet" in (folder / "README.md").read_text()


@pytest.mark.parametrize("name", ["resnet", "vit", "clip", "denoising-classifier"])
def test_a_killed_training_on_photographs_ends_in_the_same_weights_and_the_folder_answers_as_they_do(
    name: str, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is kept along the way opens like the model, and changes nothing of it."""
    made, publish, shown = [], recipes.publish, TinyImageNet().stimuli(n=6, split="dev")
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(TinyImageNet, "stimuli", lambda self, *_, **__: shown)

    def kept(model: str, plan: Recipe, saved: Any, *others: Any) -> Path:
        made.append(saved)
        return publish(model, plan, saved, *others)

    monkeypatch.setattr(recipes, "publish", kept)
    given, along = NATURAL[name], {} if name == "clip" else {"snapshots": 1}
    whole = train(f"natural/{name}", tmp_path / "whole", given=given)
    network = made[-1]
    batches = _photographs().batch
    drawn: list[int] = []

    def killed(size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        drawn.append(size)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return batches(size, generator)

    monkeypatch.setattr(_photographs(), "batch", killed)
    with pytest.raises(KeyboardInterrupt):
        train(f"natural/{name}", tmp_path / "killed", given=given, **along)
    again = train(f"natural/{name}", tmp_path / "killed", given=given, **along)
    assert len(drawn) == given.steps + 1  # nothing was learnt twice
    first, second = weights(whole), weights(again)
    assert first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)
    if along:
        before = weights(tmp_path / f"killed-{given.steps // 2}")
        assert before.keys() == first.keys() and any(not torch.equal(before[n], first[n]) for n in first)
        open_folder(tmp_path / f"killed-{given.steps // 2}", name)

    model = open_folder(whole, name)
    pictures = [stimulus.image for stimulus in shown]
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        if name == "denoising-classifier":
            t = torch.full((len(x),), 300)
            found, expected = model.network(x, t), network(x, t)
        elif name == "clip":
            found = model.logits(pictures, prompts(tiny_imagenet.NATURAL))
            words = processor(64).tokenizer(prompts(tiny_imagenet.NATURAL), padding=True, return_tensors="pt")
            expected = network(**words, pixel_values=x).logits_per_image
        else:
            found, expected = model.logits(pictures), network(x).logits
    torch.testing.assert_close(found.float(), expected.float(), rtol=1e-2, atol=1e-2 * float(expected.std()))


def test_a_budget_in_minutes_is_a_number_of_steps_that_a_resumed_run_keeps(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: 0.02 * next(clock)))  # 0.08 s a step
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(recipes, "PROBE_SECONDS", 0.1)
    batches, left = _photographs().batch, [10**6]

    def killed(size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return batches(size, generator)

    monkeypatch.setattr(_photographs(), "batch", killed)
    out = tmp_path / "vit"
    learnt = recipes._learnt

    def soon(model: str, plan: Recipe, *others: Any) -> Any:
        left[0] = 10**6 if "probe" in model else 3
        return learnt(model, plan, *others)

    monkeypatch.setattr(recipes, "_learnt", soon)
    with pytest.raises(KeyboardInterrupt):
        train("natural/vit", out, given=NATURAL["vit"], minutes=0.01)
    steps = torch.load(out.with_name("vit.checkpoint"), weights_only=True)["steps"]
    assert steps == int(0.6 / 0.08)
    monkeypatch.setattr(recipes, "_learnt", learnt)
    left[0] = 10**6
    train("natural/vit", out, given=NATURAL["vit"], minutes=60)  # another number of minutes has no say any more
    assert 10**6 - left[0] == steps - 2
    card = (out / "README.md").read_text()
    assert f"| {4 * steps:,}, as many as a probe of the machine promised in 0.01 minutes |" in card


@pytest.mark.parametrize("family", ["pixel", "sd"])
def test_a_sheet_shows_a_row_a_prompt_and_leaves_the_pipeline_as_it_was(family: str) -> None:
    from gencls.models import tiny
    from gencls.training.pixel import pipeline
    from gencls.training.samples import sheet

    pipe = tiny.build("sd") if family == "sd" else pipeline(0, width=64, patch_size=16, trunk_depth=1, text_depth=1)
    network = pipe.unet if family == "sd" else pipe.transformer
    network.train()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    page = sheet(pipe, ["a star", "a long name of something"], seed=3)
    assert network.training and all(torch.equal(before[name], w) for name, w in network.state_dict().items())
    assert page.height == 8 + 2 * (128 + 8) and page.width > 2 * (128 + 8) + 100
    again, other = (np.asarray(sheet(pipe, ["a star", "a long name of something"], seed=s)) for s in (3, 4))
    assert np.array_equal(np.asarray(page), again) and not np.array_equal(again, other)


def test_guidance_goes_away_from_one_negative_prompt_a_step_in_turn() -> None:
    from gencls.training.pixel import pipeline

    pipe = pipeline(0, width=64, patch_size=16, trunk_depth=1, text_depth=1)
    for layer in (pipe.transformer.patch_out, pipe.transformer.last_modulation):
        torch.nn.init.normal_(layer.weight, std=0.05)  # where training begins the text changes nothing
    pipe.set_progress_bar_config(disable=True)

    def drawn(guidance: float, negative: list[str] | None, steps: int = 2) -> np.ndarray:
        given = {"output_type": "np", "guidance_scale": guidance, "negative_prompt": negative}
        return pipe("a star", steps, torch.Generator().manual_seed(3), **given).images

    np.testing.assert_allclose(drawn(4, ["a star"]), drawn(1, None), atol=1e-5)
    moon, both, turned = drawn(4, ["a moon"]), drawn(4, ["a moon", "a heart"]), drawn(4, ["a heart", "a moon"])
    assert np.abs(moon - drawn(1, None)).max() > 0.01 < np.abs(both - turned).max()
    np.testing.assert_array_equal(drawn(4, ["a moon", "a heart"], 1), drawn(4, ["a moon"], 1))
    pipe.scheduler.set_timesteps(1)
    noise = torch.randn((1, 3, 32, 32), generator=torch.Generator().manual_seed(3))
    own, other = (
        pipe.transformer(noise, pipe.scheduler.timesteps[:1], pipe.encode_prompt([p])) for p in ("a star", "a moon")
    )
    expected = pipe.scheduler.step(own + 3 * (own - other), pipe.scheduler.timesteps[0], noise).prev_sample
    found = torch.from_numpy(drawn(4, ["a moon"], 1)).permute(0, 3, 1, 2) * 2 - 1
    torch.testing.assert_close(found, expected.detach().clamp(-1, 1), atol=1e-4, rtol=0)


def test_noise_for_none_of_the_images_is_no_noise_and_for_half_of_them_is_neither_that_nor_for_all(
    tmp_path: Path,
) -> None:
    plan = TINY["shapes/resnet"]
    schedules = {"clean": {}, "none": {"noised": 0.0}, "half": {"noised": 0.5}, "all": {"noised": 1.0}}
    made = {}
    for name, share in schedules.items():
        given = replace(plan, noise=(0.0, 1.0) if share else None, **share)
        made[name] = weights(train("shapes/resnet", tmp_path / name, cache=tmp_path / "photos", given=given))

    def same(a: str, b: str) -> bool:
        return all(torch.equal(made[a][n], made[b][n]) for n in made[a])

    assert same("clean", "none")
    assert not any(same("half", other) for other in ("clean", "all"))


def test_captions_of_the_same_text_are_positives_and_different_ones_give_clips_own_loss() -> None:
    from gencls.training.clip import contrast

    images, texts = (F.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(i))) for i in (0, 1))
    scale, each = torch.tensor(5.0), torch.arange(4)
    logits = 5 * images @ texts.T
    expected = (F.cross_entropy(logits, each) + F.cross_entropy(logits.T, each)) / 2
    assert torch.allclose(contrast(images, texts, scale, torch.eye(4)), expected)
    texts = texts[[0, 0, 2, 3]]
    same = (torch.tensor([0, 0, 2, 3])[:, None] == torch.tensor([0, 0, 2, 3])).float()
    swapped = contrast(images[[1, 0, 2, 3]], texts, scale, same)
    assert torch.allclose(contrast(images, texts, scale, same), swapped)  # which of the two has which does not matter


def _run(checkpoint: Path, stop: int | None) -> dict[str, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))

    def loss(step: int) -> Tensor:
        if step == stop:
            raise KeyboardInterrupt
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        return (model(x) - x.sum(1, keepdim=True)).square().mean()

    loop.fit(model, loss, loop.Run(60, 16, 0, checkpoint))
    return model.state_dict()


def test_an_interrupted_run_ends_in_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_CHECKPOINT_SECONDS", 0)
    whole = _run(tmp_path / "a.checkpoint", None)
    for stop in (17, 41):
        with pytest.raises(KeyboardInterrupt):
            _run(tmp_path / "b.checkpoint", stop)
    resumed = _run(tmp_path / "b.checkpoint", None)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_training_takes_nothing_away_that_is_not_its_own(tmp_path: Path) -> None:
    given = TINY["shapes/resnet"]
    for name in ("exp.new", "exp-6"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("mine")
    with pytest.raises(GenclsError, match=r"exp-6 holds something else"):
        train("shapes/resnet", tmp_path / "exp", given=given, snapshots=1)
    assert not (tmp_path / "exp").exists()
    train("shapes/resnet", tmp_path / "exp", given=given)
    train("shapes/resnet", tmp_path / "exp", given=given)  # an earlier model gives way
    assert sorted(p.name for p in tmp_path.iterdir()) == ["exp", "exp-6", "exp.new"]
    assert all((tmp_path / name / "thesis.txt").read_text() == "mine" for name in ("exp.new", "exp-6"))


def test_two_trainings_never_share_a_folder(tmp_path: Path) -> None:
    with alone(tmp_path / "exp"), pytest.raises(GenclsError, match=r"another run is training .*exp"):
        train("shapes/resnet", tmp_path / "exp", given=TINY["shapes/resnet"])
    assert train("shapes/resnet", tmp_path / "exp", given=TINY["shapes/resnet"]).is_dir()


def test_trainings_that_begin_together_draw_their_photos_once(tmp_path: Path) -> None:
    command = f"from pathlib import Path; from gencls.stimuli.shapes import ShapesWorld; from gencls.training.data import Photos; Photos(ShapesWorld(), 300, Path({str(tmp_path)!r}))"
    running = [subprocess.Popen([sys.executable, "-c", command], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [(p.communicate()[1], p.returncode) for p in running] == [("", 0)] * 3
    (path,) = tmp_path.iterdir()
    with np.load(path) as pool:
        assert pool["images"].shape == (300, 32, 32, 3)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"minutes": math.inf}, "never ends"),
        ({"minutes": math.nan}, "never ends"),
        ({"snapshots": 2}, "makes images"),
    ],
)
def test_what_no_training_can_do_is_said_before_a_photo_is_drawn(options: dict, why: str, tmp_path: Path) -> None:
    with pytest.raises(GenclsError, match=why):
        train("shapes/pixel", tmp_path / "model", **options)
    assert not list(tmp_path.iterdir())


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    checkpoint, model = tmp_path / "c.checkpoint", nn.Linear(2, 1)
    loop.fit(model, lambda step: model(torch.ones(1, 2)).sum(), loop.Run(3, 1, 0, checkpoint))
    whole = checkpoint.read_bytes()
    for left in (b"", whole[: len(whole) // 2]):
        checkpoint.write_bytes(left)
        with pytest.raises(GenclsError, match=r"is damaged; delete it"):
            loop.fit(model, lambda step: model(torch.ones(1, 2)).sum(), loop.Run(3, 1, 0, checkpoint))


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "c.checkpoint"
    model = nn.Linear(2, 1)
    loop.fit(model, lambda step: model(torch.ones(1, 2)).sum(), loop.Run(3, 1, 0, checkpoint, recipe="one"))
    with pytest.raises(GenclsError, match=r"another recipe.*delete it"):
        loop.fit(model, lambda step: model(torch.ones(1, 2)).sum(), loop.Run(3, 1, 0, checkpoint, recipe="other"))
    with pytest.raises(GenclsError, match="another recipe"):
        loop.fit(model, lambda step: model(torch.ones(1, 2)).sum(), loop.Run(9, 1, 0, checkpoint, recipe="one"))


@pytest.mark.parametrize("model", TINY)
def test_a_run_killed_before_its_folder_stood_there_is_not_lost(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model"
    publish = recipes.publish

    def interrupted(*_: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(recipes, "publish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(model, out, given=TINY[model])
    assert not out.exists()
    monkeypatch.setattr(recipes, "publish", publish)
    train(model, out, given=replace(TINY[model]))
    draws = TINY[model].generative
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", *["model-samples"] * draws]
    if draws:
        assert sorted(p.name for p in (tmp_path / "model-samples").iterdir()) == [f"{n:06d}.png" for n in (2, 4, 8)]
    names = {p.suffix for p in out.rglob("*") if p.is_file()}
    assert ".safetensors" in names
    assert not names & {".bin", ".pt", ".pth", ".pkl"}
    card = (out / "README.md").read_text()
    assert all(word in card for word in (model, "wall time", "digest", "commit"))
    assert "in-distribution accuracy" in card
    if model == "drivers/denoising-classifier":
        network = PatchClassifier.from_pretrained(out)
        assert network(torch.zeros(2, 3, 32, 32), torch.tensor([0, 999])).shape == (2, 16)
    elif model in ("shapes/pixel", "drivers/flow-x0", "drivers/sentences"):
        images = PixelPipeline.from_pretrained(out)("a photo of a star", num_inference_steps=2, output_type="np").images
        assert images.shape == (1, 32, 32, 3)
    else:
        from transformers import AutoModelForImageClassification

        network = AutoModelForImageClassification.from_pretrained(out)
        assert network(torch.zeros(1, 3, 32, 32)).logits.shape == (1, 16)


def test_without_text_layers_a_category_is_looked_up_and_nothing_else() -> None:
    from gencls.training.pixel import pipeline

    pipe = pipeline(0, width=64, patch_size=8, trunk_depth=1, text_depth=1, text_layers=0)
    text = pipe.text_encoder
    parts = text.get_input_embeddings().weight, text.state_dict()
    both = pipe.tokenizer("star").input_ids
    places = next(w for n, w in parts[1].items() if "position_embedding" in n)[: len(both)]
    rows = torch.nn.functional.layer_norm(parts[0][both] + places, (parts[0].shape[1],))
    assert torch.allclose(pipe.encode_prompt(["star"])[0], rows.mean(0), atol=1e-5)


@pytest.mark.parametrize("name", [n for n in RECIPES if (n.startswith("drivers/") and "0." in n) or "below" in n])
def test_one_thing_is_varied_in_the_worlds_of_the_drivers(name: str) -> None:
    varied, plain = RECIPES[name], RECIPES["drivers/resnet" if "resnet" in name else "drivers/cosine-x0"]
    assert replace(varied, world=plain.world) == plain
    known = {k: v for k, v in vars(varied.world).items() if v != getattr(plain.world, k)}
    assert len(known) == 1 and next(iter(known.values())) == float(name.rsplit("-", 1)[1])


def test_flow_matching_has_its_noise_levels_and_weights_have_the_mean_one() -> None:
    from gencls.training.drivers import LOSSES, weights
    from gencls.training.pixel import scheduler

    t = (torch.arange(1000) + 0.5) / 1000
    alpha_bar = scheduler("flow").alphas_cumprod
    ratio = (alpha_bar / (1 - alpha_bar)).sqrt()
    assert torch.allclose(ratio[3:], ((1 - t) / t)[3:], rtol=1e-2)  # float32 rounds what lies nearer to the clean image
    for noise in ("cosine", "linear", "flow"):
        levels = scheduler(noise).alphas_cumprod
        assert (levels.diff() < 0).all()
        for loss in LOSSES:
            assert weights(loss, levels).mean() == pytest.approx(1, rel=1e-4)
    exp, eps = (weights(loss, scheduler("cosine").alphas_cumprod) for loss in ("exp", "eps"))
    assert exp[100] / exp[600] == pytest.approx(float(torch.exp(torch.tensor(3.5))), rel=1e-3)
    assert eps[0] == eps[10] and eps[500] / eps[900] > 10  # kept from growing at low t, the SNR elsewhere


def test_a_training_in_two_stages_has_no_budget_in_minutes(tmp_path: Path) -> None:
    with pytest.raises(GenclsError, match="two stages"):
        train("shapes/ar", tmp_path / "ar", given=replace(RECIPES["shapes/ar"], photos=8), minutes=1)


def test_other_seeds_and_unknown_recipes() -> None:
    assert recipe("shapes/pixel@2") == replace(RECIPES["shapes/pixel"], seed=2)
    for bad in ("shapes/vit", "shapes/pixel@x"):
        with pytest.raises(GenclsError, match="no recipe"):
            recipe(bad)
