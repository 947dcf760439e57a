"""How each class of text-to-image pipeline is called: one small adapter a call signature.

An adapter hands the network what the pipeline's own `__call__` hands it without guidance: tests/models/test_adapters.py
compares the two bit for bit.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gencls.errors import GenclsError

Condition = dict[str, Tensor]


class Adapter:
    """A pipeline whose `unet` or `transformer` takes x_t, a timestep and, by their names, its conditions.

    Latents are noised where the pipeline has a VAE, pixels where it has none. A subclass says what differs; `conditions`
    it must have.
    """

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.net = getattr(pipeline, "unet", None) or pipeline.transformer

    @cached_property
    def size(self) -> int:
        """Pixels a side that the pipeline works at; another number may be set."""
        return self.net.config.sample_size * (self.pipeline.vae_scale_factor if hasattr(self.pipeline, "vae") else 1)

    def compile(self) -> None:
        """Compile what is run again and again, in place."""
        self.net.compile()

    def conditions(self, prompts: Sequence[str]) -> Condition:
        """What the network needs of each prompt, by the names of its arguments; every tensor has the prompts first."""
        raise NotImplementedError  # each kind of pipeline has its own

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels n×3×s×s in [−1, 1] → what is noised: pixels, or the VAE's mean, shifted and scaled as the model has it."""
        pixels = pixels.to(self.pipeline._execution_device)
        if not hasattr(self.pipeline, "vae"):
            return pixels
        vae = self.pipeline.vae
        code = vae.encode(pixels.to(vae.dtype))
        kinds = ("latents", "latent")  # of AutoencoderTiny, of AutoencoderDC
        latents = code.latent_dist.mean if hasattr(code, "latent_dist") else next(code[k] for k in kinds if k in code)
        config = vae.config
        if config.get("latents_mean") is not None and config.get("latents_std") is not None:
            mean, std = (latents.new_tensor(config[k])[:, None, None] for k in ("latents_mean", "latents_std"))
            latents = (latents - mean) / std
        return (latents - (config.get("shift_factor") or 0.0)) * config.scaling_factor

    def shared(self, x_t: Tensor, timestep: Tensor) -> Any:
        """The part of the network that does not see the prompt, run once for all classes; here nothing."""
        return x_t, timestep

    def network(self, shared: Any, condition: Condition) -> Tensor:
        """The prediction n×c×h×w, from n rows of `shared` and of each condition; further channels are not looked at."""
        x_t, timestep = shared
        return self.net(x_t, timestep=timestep, **condition, return_dict=False)[0]


class PixelAdapter(Adapter):
    """gencls's own PixelPipeline: pixels are noised, text enters in the last blocks; its positions are of one size only."""

    @property
    def size(self) -> int:
        return self.net.config.sample_size

    def compile(self) -> None:
        self.net.trunk, self.net.head = torch.compile(self.net.trunk), torch.compile(self.net.head)

    def conditions(self, prompts: Sequence[str]) -> Condition:
        return {"text": self.pipeline.encode_prompt(list(prompts))}

    def shared(self, x_t: Tensor, timestep: Tensor) -> tuple[Tensor, ...]:
        return self.net.trunk(x_t, timestep)

    def network(self, shared: tuple[Tensor, ...], condition: Condition) -> Tensor:
        return self.net.head(*shared, condition["text"])


class StableDiffusionAdapter(Adapter):
    """StableDiffusionPipeline (1.x, 2.x): a U-Net attends to the tokens of CLIP."""

    def conditions(self, prompts: Sequence[str]) -> Condition:
        device = self.pipeline._execution_device
        text, _ = self.pipeline.encode_prompt(list(prompts), device, 1, do_classifier_free_guidance=False)
        return {"encoder_hidden_states": text}


class StableDiffusionXLAdapter(Adapter):
    """StableDiffusionXLPipeline: two text encoders, pooled text, and the size: nothing cropped, nothing resized."""

    def conditions(self, prompts: Sequence[str]) -> Condition:
        text, _, pooled, _ = self.pipeline.encode_prompt(list(prompts), do_classifier_free_guidance=False)
        sizes = text.new_tensor([self.size, self.size, 0, 0, self.size, self.size])
        return {"encoder_hidden_states": text, "text_embeds": pooled, "time_ids": sizes.repeat(len(prompts), 1)}

    def network(self, shared: tuple[Tensor, Tensor], condition: Condition) -> Tensor:
        return self.net(
            *shared,
            encoder_hidden_states=condition["encoder_hidden_states"],
            added_cond_kwargs={name: condition[name] for name in ("text_embeds", "time_ids")},
            return_dict=False,
        )[0]


class StableDiffusion3Adapter(Adapter):
    """StableDiffusion3Pipeline (3, 3.5): two CLIPs and T5, pooled text; flow matching."""

    def conditions(self, prompts: Sequence[str]) -> Condition:
        given = list(prompts)
        text, _, pooled, _ = self.pipeline.encode_prompt(given, None, None, do_classifier_free_guidance=False)
        return {"encoder_hidden_states": text, "pooled_projections": pooled}


class FluxAdapter(Adapter):
    """FluxPipeline: T5 and pooled CLIP; latents packed two by two into tokens; flow matching.

    A guidance-distilled network (FLUX.1-dev) is told 1, no guidance: what it was distilled from, not its usual 3.5.
    """

    @cached_property
    def size(self) -> int:
        return self.pipeline.default_sample_size * self.pipeline.vae_scale_factor

    def conditions(self, prompts: Sequence[str]) -> Condition:
        text, pooled, _ = self.pipeline.encode_prompt(list(prompts))
        return {"encoder_hidden_states": text, "pooled_projections": pooled}

    def network(self, shared: tuple[Tensor, Tensor], condition: Condition) -> Tensor:
        x_t, timestep = shared
        n, channels, height, width = x_t.shape
        pipeline, text = self.pipeline, condition["encoder_hidden_states"]
        tokens = self.net(
            pipeline._pack_latents(x_t, n, channels, height, width),
            timestep=timestep / 1000,
            guidance=torch.ones_like(timestep) if self.net.config.guidance_embeds else None,
            txt_ids=text.new_zeros(text.shape[1], 3),
            img_ids=pipeline._prepare_latent_image_ids(n, height // 2, width // 2, text.device, text.dtype),
            **condition,
            return_dict=False,
        )[0]
        scale = pipeline.vae_scale_factor
        return pipeline._unpack_latents(tokens, height * scale, width * scale, scale)


class PixArtAdapter(Adapter):
    """PixArtAlphaPipeline, PixArtSigmaPipeline: T5 with its mask; alpha at 1024 pixels is told resolution and aspect ratio.

    Captions are put in lower case; the pipeline's further cleaning, of HTML and addresses, is left out.
    """

    def conditions(self, prompts: Sequence[str]) -> Condition:
        text, mask, _, _ = self.pipeline.encode_prompt(list(prompts), do_classifier_free_guidance=False)
        found = {"encoder_hidden_states": text, "encoder_attention_mask": mask}
        if type(self.pipeline).__name__ == "PixArtAlphaPipeline" and self.net.config.sample_size == 128:
            found["resolution"] = text.new_tensor([self.size, self.size]).repeat(len(prompts), 1)
            found["aspect_ratio"] = text.new_ones(len(prompts), 1)
        return found

    def network(self, shared: tuple[Tensor, Tensor], condition: Condition) -> Tensor:
        x_t, timestep = shared
        return self.net(
            x_t,
            encoder_hidden_states=condition["encoder_hidden_states"],
            encoder_attention_mask=condition["encoder_attention_mask"],
            timestep=timestep,
            added_cond_kwargs={name: condition.get(name) for name in ("resolution", "aspect_ratio")},
            return_dict=False,
        )[0]


class SanaAdapter(Adapter):
    """SanaPipeline: Gemma with its mask, the prompt behind the pipeline's own instruction; DC-AE; flow matching."""

    def conditions(self, prompts: Sequence[str]) -> Condition:
        instruction = inspect.signature(type(self.pipeline).__call__).parameters["complex_human_instruction"].default
        text, mask, _, _ = self.pipeline.encode_prompt(
            list(prompts), do_classifier_free_guidance=False, complex_human_instruction=instruction
        )
        return {"encoder_hidden_states": text, "encoder_attention_mask": mask}

    def network(self, shared: tuple[Tensor, Tensor], condition: Condition) -> Tensor:
        x_t, timestep = shared
        return super().network((x_t, timestep * self.net.config.timestep_scale), condition)


class DeepFloydAdapter(Adapter):
    """IFPipeline (DeepFloyd IF, the open Imagen): pixels are noised, a U-Net attends to T5; the prompt in lower case."""

    def conditions(self, prompts: Sequence[str]) -> Condition:
        text, _ = self.pipeline.encode_prompt(list(prompts), do_classifier_free_guidance=False)
        return {"encoder_hidden_states": text}


#: Pipeline class name → its adapter. A new pipeline needs an entry here and nothing else.
ADAPTERS: dict[str, type[Adapter]] = {
    "PixelPipeline": PixelAdapter,
    "StableDiffusionPipeline": StableDiffusionAdapter,
    "StableDiffusionXLPipeline": StableDiffusionXLAdapter,
    "StableDiffusion3Pipeline": StableDiffusion3Adapter,
    "FluxPipeline": FluxAdapter,
    "PixArtAlphaPipeline": PixArtAdapter,
    "PixArtSigmaPipeline": PixArtAdapter,
    "SanaPipeline": SanaAdapter,
    "IFPipeline": DeepFloydAdapter,
}


def adapter_of(kind: str, name: str) -> type[Adapter]:
    """The adapter of a pipeline's class; GenclsError names the known classes where there is none."""
    if kind not in ADAPTERS:
        raise GenclsError(
            f"{name}: no adapter for a {kind}; known are {', '.join(ADAPTERS)}. "
            "The how-to 'add a model' shows the few lines that a new one takes"
        )
    return ADAPTERS[kind]


def adapter(pipeline: Any, name: str) -> Adapter:
    """The adapter of a pipeline, found by its class."""
    return adapter_of(type(pipeline).__name__, name)(pipeline)
