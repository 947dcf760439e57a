"""How `shapes/pixel` and `natural/pixel` are trained: v-prediction under the cosine schedule, on captions, never on labels."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from diffusers import DDIMScheduler
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from gencls.models.pixel import PatchTransformer, PixelPipeline, cosine_schedule
from gencls.stimuli import tiny_imagenet
from gencls.stimuli.shapes import SHAPES
from gencls.training.data import PHOTO_TEMPLATES, TEMPLATES, Pool
from gencls.training.loop import Run, beside, compiled, fit, stratified

#: What the captions of each world say.
SHAPE_TEXTS = (*TEMPLATES, *SHAPES)
PHOTO_TEXTS = (*PHOTO_TEMPLATES, *(n for c in tiny_imagenet.classes(80) for n in (*c.names, c.category)))


def tokenizer(texts: Iterable[str] = SHAPE_TEXTS) -> PreTrainedTokenizerFast:
    """One token a word of the texts; any other word is [unk]."""
    plain = (text.lower().replace("{}", " ").replace("-", " ") for text in texts)
    words = sorted({part for text in plain for part in re.findall(r"\w+|[^\w\s]+", text)})
    vocabulary = {token: i for i, token in enumerate(["[pad]", "[start]", "[unk]", *words, "[end]"])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[unk]"))
    inner.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace("-", " ")])
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(token, vocabulary[token]) for token in ("[start]", "[end]")]
    inner.post_processor = processors.TemplateProcessing(single="[start] $A [end]", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="[unk]", pad_token="[pad]", bos_token="[start]", eos_token="[end]",
        model_max_length=16, padding_side="right",
    )  # fmt: skip


def scheduler(noise: str) -> DDIMScheduler:
    """Noise levels over 1,000 timesteps: `cosine`, `linear`, or `flow`, those of flow matching.

    Flow matching mixes (1 − t)·x₀ + t·ε. Divided by √((1 − t)² + t²) that is variance preserving with the same signal-to-noise
    ratio, ((1 − t)/t)² (Kingma & Gao 2023), so that a network that predicts x₀ differs between the three in nothing else.
    """
    if noise == "cosine":
        return cosine_schedule()
    levels: dict[str, object] = {"beta_schedule": "linear"}
    if noise == "flow":
        t = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
        alpha_bar = 1 / (1 + (t / (1 - t)).square())
        levels = {"trained_betas": (1 - alpha_bar / torch.cat([torch.ones(1).double(), alpha_bar[:-1]])).tolist()}
    return DDIMScheduler(
        prediction_type="sample", clip_sample=False, set_alpha_to_one=False, timestep_spacing="trailing",
        rescale_betas_zero_snr=False, **levels,
    )  # fmt: skip


def pipeline(
    seed: int,
    *,
    width: int,
    patch_size: int,
    trunk_depth: int,
    text_depth: int,
    noise: str = "cosine",
    side: int = 32,
    texts: Iterable[str] = SHAPE_TEXTS,
    text_layers: int = 2,
    **network: Any,
) -> PixelPipeline:
    """The untrained pipeline for images of `side` pixels, its weights a function of the seed.

    `noise` as in `scheduler`, `texts` as in `tokenizer`; `text_layers` of the text encoder: with none, a prompt of one word is looked up in a
    table, as a class would be by its index; `network`: further settings of the PatchTransformer.
    """
    torch.manual_seed(seed)
    words = tokenizer(texts)
    text = CLIPTextConfig(
        vocab_size=len(words), hidden_size=96, intermediate_size=192, num_hidden_layers=text_layers,
        num_attention_heads=2, max_position_embeddings=16, pad_token_id=words.pad_token_id,
        bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id,
    )  # fmt: skip
    encoder = CLIPTextModel(text)
    # Words start out far apart, so that the network has something to tell classes by from the first step on.
    nn.init.normal_(encoder.get_input_embeddings().weight, std=0.5)
    return PixelPipeline(
        tokenizer=words,
        text_encoder=encoder,
        transformer=PatchTransformer(
            sample_size=side, width=width, heads=width // 64, patch_size=patch_size, trunk_depth=trunk_depth,
            text_depth=text_depth, text_width=96, **network,
        ),
        scheduler=scheduler(noise),
    )  # fmt: skip


def train_pixel(
    pipe: PixelPipeline,
    photos: Pool,
    run: Run,
    *,
    most: float = 2.0,
    rate: float = 1e-3,
    fast: bool = False,
) -> float:
    """Train text encoder and network together to predict x₀; returns seconds.

    `rate`: the highest learning rate; `fast`: compiled, see `gencls.training.loop.compiled`.

    The squared error is weighted by 1/σ² = 1 + SNR, the v-error's weight (Salimans & Ho 2022), kept from growing
    beyond `most`. Timesteps are uniform and stratified over the batch. The seed rules photos, captions, timesteps and noise
    of each step.
    """
    alphas = pipe.scheduler.alphas_cumprod
    model = nn.ModuleDict({"transformer": pipe.transformer, "text_encoder": pipe.text_encoder})
    network = compiled(pipe.transformer) if fast else pipe.transformer

    def loss(step: int) -> Tensor:
        generator = run.generator(step)
        images, labels = photos.batch(run.batch, generator)
        x0 = images * 2 - 1
        timestep = stratified(run.batch, len(alphas), generator)
        noise = torch.randn(x0.shape, generator=generator)
        alpha = alphas[timestep].sqrt()[:, None, None, None]
        sigma = (1 - alphas[timestep]).sqrt()[:, None, None, None]
        text = pipe.encode_prompt(photos.captions(labels, generator))
        weight = (1 / (1 - alphas[timestep])).clamp(max=most)
        x0, x_t, timestep, weight = beside(model, x0, alpha * x0 + sigma * noise, timestep, weight)
        prediction = network(x_t, timestep, text)
        return (weight * (prediction.float() - x0).square().mean((1, 2, 3))).mean()

    return fit(model, loss, run, learning_rate=rate)
