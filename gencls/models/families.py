"""The families of models that can be opened by an id of the hub or from a folder, and what each stands for in the paper.

One row a family: `gencls models` prints it, and a test holds it against the adapters, so that nothing that can be opened
is missing here. Parameters are counted on the network that a configuration makes where this repository holds it (`benchmarks/flops.py`), and
as the models' own cards state them where not; conditions of access are the cards'.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """What a family is called, the classes that are opened so, its place in the paper, what it needs, and an id to begin with.

    classes : names of diffusers pipelines, or the `model_type` of a transformers configuration; none where transformers'
        own auto-class decides
    paper : what it stands for in Jaini, Clark & Geirhos (2024)
    needs : the network's parameters, counted or from its card, and the text encoder's where it is the larger; whether a licence must be accepted first
    """

    name: str
    classes: tuple[str, ...]
    paper: str
    needs: str
    example: str


FAMILIES = (
    Family(
        "Stable Diffusion 1, 2",
        ("StableDiffusionPipeline",),
        "Stable Diffusion itself",
        "0.87 B (counted)",
        "hf:stabilityai/stable-diffusion-2-1",
    ),
    Family(
        "Stable Diffusion XL",
        ("StableDiffusionXLPipeline",),
        "Stable Diffusion, three times as large",
        "2.57 B (counted)",
        "hf:stabilityai/stable-diffusion-xl-base-1.0",
    ),
    Family(
        "DeepFloyd IF",
        ("IFPipeline",),
        "the open Imagen: pixels, T5",
        "0.4 B, text 4.7 B (card); a licence to accept",
        "hf:DeepFloyd/IF-I-M-v1.0",
    ),
    Family(
        "Janus, Janus-Pro",
        ("janus",),
        "the open Parti: image tokens",
        "1 B or 7 B (card)",
        "hf:deepseek-community/Janus-Pro-1B",
    ),
    Family("Emu3", ("emu3",), "the open Parti: image tokens", "8 B (card)", "hf:BAAI/Emu3-Gen-hf"),
    Family(
        "Stable Diffusion 3, 3.5",
        ("StableDiffusion3Pipeline",),
        "after the paper: flow matching",
        "2 B to 8 B, text 4.7 B (card); a licence to accept",
        "hf:stabilityai/stable-diffusion-3.5-medium",
    ),
    Family(
        "Flux",
        ("FluxPipeline",),
        "after the paper: flow matching",
        "12 B, text 4.7 B (card); a licence to accept",
        "hf:black-forest-labs/FLUX.1-dev",
    ),
    Family(
        "PixArt-α, PixArt-Σ",
        ("PixArtAlphaPipeline", "PixArtSigmaPipeline"),
        "after the paper: a transformer, T5",
        "0.6 B, text 4.7 B (card)",
        "hf:PixArt-alpha/PixArt-Sigma-XL-2-512-MS",
    ),
    Family(
        "Sana",
        ("SanaPipeline",),
        "after the paper: few latents, Gemma",
        "1.6 B, text 2.6 B (card)",
        "hf:Efficient-Large-Model/Sana_1600M_512px_diffusers",
    ),
    Family(
        "pixel diffusion of this book",
        ("PixelPipeline",),
        "Imagen, tiny",
        "nothing: it ships",
        "shapes/pixel",
    ),
    Family(
        "image classifiers",
        (),
        "the discriminative models",
        "labels of ImageNet-1k or 21k",
        "hf:microsoft/resnet-50",
    ),
    Family(
        "CLIP, SigLIP and kin",
        ("align", "altclip", "chinese_clip", "clip", "metaclip_2", "siglip", "siglip2"),
        "CLIP: text without generating",
        "0.15 B to 1 B (card)",
        "hf:openai/clip-vit-large-patch14",
    ),
)
