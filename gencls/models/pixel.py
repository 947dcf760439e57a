"""A small text-to-image diffusion model in pixel space: the `shapes/pixel` of the zoo, as an ordinary diffusers pipeline.

The network is a patch transformer with adaptive layer norms (Peebles & Xie 2023, DiT). Text enters in the last blocks only,
so that scoring n classes runs the first blocks once a noised stimulus, not n times.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import ConfigMixin, DDIMScheduler, DiffusionPipeline, ImagePipelineOutput, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, PreTrainedTokenizerFast


class SquaredReLU(nn.Module):
    """max(x, 0)² (So et al. 2021, "Primer"): a third faster than a GELU on a processor; which of them learns better was not compared here."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x).square()


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": lambda: nn.GELU(approximate="tanh"),
    "relu2": SquaredReLU,
}


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(qkᵀ/√d)v, n×heads×tokens×d each, written out: on few tokens its backward pass is far faster than the fused kernel's."""
    weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1, dtype=torch.float32)
    return weights.to(v.dtype) @ v


class Block(nn.Module):
    """Self-attention and an MLP, each shifted, scaled and gated by the condition (adaLN-zero)."""

    def __init__(self, width: int, heads: int, activation: str = "gelu") -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), ACTIVATIONS[activation](), nn.Linear(4 * width, width))
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x: n×tokens×width, condition: n×width → n×tokens×width."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(F.silu(condition))[:, None].chunk(6, -1)
        h = F.layer_norm(x, x.shape[-1:]) * (1 + scale_a) + shift_a
        q, k, v = self.qkv(h).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attend = attention if self.training else F.scaled_dot_product_attention
        x = x + gate_a * self.out(attend(q, k, v).transpose(1, 2).flatten(2))
        h = F.layer_norm(x, x.shape[-1:]) * (1 + scale_m) + shift_m
        return x + gate_m * self.mlp(h)


class PatchTransformer(ModelMixin, ConfigMixin):
    """Predicts the target of a noised image from its patches, the timestep and a sentence embedding.

    `forward` is `head(*trunk(sample, timestep), text)`: the trunk never sees the text.

    With `sigma_data`, s in short, the blocks do not have to carry the image through (Karras et al. 2022, section 5): from x_t = α·x₀ + σ·ε
    with n² = α²s² + σ² they see x_t / n, and the prediction of x₀ is (αs²/n²)·x_t + (σs/n)·F, the best linear guess for images of standard
    deviation s plus what the blocks add. α and σ are those of `cosine_schedule`, under which such a network has to be trained.
    """

    @register_to_config
    def __init__(
        self,
        sample_size: int = 32,
        patch_size: int = 4,
        in_channels: int = 3,
        width: int = 192,
        heads: int = 3,
        trunk_depth: int = 3,
        text_depth: int = 3,
        text_width: int = 128,
        activation: str = "gelu",
        sigma_data: float | None = None,
    ) -> None:
        super().__init__()
        self.patch_in = nn.Conv2d(in_channels, width, patch_size, patch_size)
        self.position = nn.Parameter(torch.randn(1, (sample_size // patch_size) ** 2, width) * 0.02)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.text = nn.Sequential(nn.Linear(text_width, width), nn.SiLU(), nn.Linear(width, width))
        self.trunk_blocks = nn.ModuleList(Block(width, heads, activation) for _ in range(trunk_depth))
        self.text_blocks = nn.ModuleList(Block(width, heads, activation) for _ in range(text_depth))
        self.last_modulation = nn.Linear(width, 2 * width)
        self.patch_out = nn.Linear(width, in_channels * patch_size**2)
        for layer in (self.last_modulation, self.patch_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.scales: Tensor
        self.register_buffer("scales", _scales(sigma_data), persistent=False)

    def trunk(self, sample: Tensor, timestep: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """sample n×c×s×s, timestep n → hidden n×tokens×width, time embedding n×width, and of the prediction what is there already, n×c×s×s, and how
        much the blocks' share counts, n×1×1×1."""
        before, passed, added = self.scales[:, timestep.long(), None, None, None].to(sample.dtype)
        kept, sample = passed * sample, before * sample
        moment = self.time(get_timestep_embedding(timestep, self.config.width, flip_sin_to_cos=True).to(sample.dtype))
        hidden = self.patch_in(sample).flatten(2).transpose(1, 2) + self.position
        for block in self.trunk_blocks:
            hidden = block(hidden, moment)
        return hidden, moment, kept, added

    def head(self, hidden: Tensor, moment: Tensor, kept: Tensor, added: Tensor, text: Tensor) -> Tensor:
        """What `trunk` returns, and text n×text_width → the prediction, n×c×s×s."""
        condition = moment + self.text(text)
        for block in self.text_blocks:
            hidden = block(hidden, condition)
        shift, scale = self.last_modulation(F.silu(condition))[:, None].chunk(2, -1)
        patches = self.patch_out(F.layer_norm(hidden, hidden.shape[-1:]) * (1 + scale) + shift)
        side = self.config.sample_size // self.config.patch_size
        return kept + added * F.pixel_shuffle(
            patches.transpose(1, 2).unflatten(2, (side, side)), self.config.patch_size
        )

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        """sample n×c×s×s, timestep n, encoder_hidden_states n×text_width → the prediction, n×c×s×s."""
        return self.head(*self.trunk(sample, timestep), encoder_hidden_states)


def _scales(sigma_data: float | None) -> Tensor:
    """By timestep of `cosine_schedule`: what x_t is multiplied by for the blocks, for the prediction, and what the blocks' share is multiplied by; 3×1000."""
    alpha_bar = cosine_schedule().alphas_cumprod.double()
    if sigma_data is None:
        return torch.tensor([1.0, 0.0, 1.0])[:, None].repeat(1, len(alpha_bar))
    variance = alpha_bar * sigma_data**2 + 1 - alpha_bar
    passed = alpha_bar.sqrt() * sigma_data**2 / variance
    added = ((1 - alpha_bar) / variance).sqrt() * sigma_data
    return torch.stack([variance.rsqrt(), passed, added]).float()


class PatchClassifier(ModelMixin, ConfigMixin):
    """The same blocks, asked for the category of a noised image: sample n×3×s×s, timestep n → logits n×classes."""

    @register_to_config
    def __init__(
        self,
        sample_size: int = 32,
        patch_size: int = 8,
        width: int = 128,
        heads: int = 2,
        depth: int = 4,
        classes: int = 16,
        labels: list[str] | None = None,  # the outputs' names
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        self.body = PatchTransformer(
            sample_size=sample_size, patch_size=patch_size, width=width, heads=heads, trunk_depth=depth, text_depth=0,
            activation=activation,
        )  # fmt: skip
        del self.body.text, self.body.last_modulation, self.body.patch_out
        self.answer = nn.Linear(width, classes)

    def forward(self, sample: Tensor, timestep: Tensor) -> Tensor:
        hidden, *_ = self.body.trunk(sample, timestep)
        return self.answer(F.layer_norm(hidden, hidden.shape[-1:]).mean(1)).float()


def cosine_schedule() -> DDIMScheduler:
    """The noise levels that the pixel models of this project are trained under (Nichol & Dhariwal 2021), as their pipelines save them."""
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="sample", clip_sample=False, set_alpha_to_one=False,
        timestep_spacing="trailing", rescale_betas_zero_snr=False,
    )  # fmt: skip


class PixelPipeline(DiffusionPipeline):
    """Text to image in pixel space: a tokenizer, a text encoder, a PatchTransformer and a scheduler.

    `PixelPipeline.from_pretrained(folder)` loads it, `pipeline("a photo of a star")` draws.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        text_encoder: CLIPTextModel,
        transformer: PatchTransformer,
        scheduler: DDIMScheduler,
    ) -> None:
        super().__init__()
        self.register_modules(
            tokenizer=tokenizer, text_encoder=text_encoder, transformer=transformer, scheduler=scheduler
        )

    def encode_prompt(self, prompts: list[str]) -> Tensor:
        """Sentence embeddings, the mean over a prompt's tokens: n×text_width."""
        tokens = self.tokenizer(prompts, padding=True, truncation=True, return_tensors="pt").to(self.device)
        mask = tokens.attention_mask[:, :, None]
        states = self.text_encoder(tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
        return (states * mask).sum(1) / mask.sum(1)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str],
        num_inference_steps: int = 25,
        generator: torch.Generator | None = None,
        output_type: str = "pil",
        guidance_scale: float = 1.0,
        negative_prompt: list[str] | None = None,
    ) -> ImagePipelineOutput:
        """Images of the prompts by deterministic DDIM steps from noise.

        With a `guidance_scale` g above 1 each step goes from what a prompt predicts g − 1 times further away from what one of `negative_prompt`
        predicts; they take turns, so that over the steps it is their mean (Ho & Salimans 2022 go away from the empty prompt, which this
        network was not trained with).
        """
        prompts = [prompt] if isinstance(prompt, str) else prompt
        text = self.encode_prompt(prompts)
        against = self.encode_prompt(negative_prompt or [""]) if guidance_scale > 1 else None
        config = self.transformer.config
        shape = (len(prompts), config.in_channels, config.sample_size, config.sample_size)
        sample = torch.randn(shape, generator=generator).to(self.device)
        self.scheduler.set_timesteps(num_inference_steps)
        for step, timestep in enumerate(self.progress_bar(self.scheduler.timesteps)):
            seen = self.transformer.trunk(sample, timestep.expand(len(prompts)))
            prediction = self.transformer.head(*seen, text)
            if against is not None:
                other = self.transformer.head(*seen, against[step % len(against)].expand_as(text))
                prediction = prediction + (guidance_scale - 1) * (prediction - other)
            sample = self.scheduler.step(prediction, timestep, sample).prev_sample
        images = (sample / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().float().numpy()
        return ImagePipelineOutput(images=self.numpy_to_pil(images) if output_type == "pil" else images)
