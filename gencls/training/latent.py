"""How `natural/latent` is trained: an autoencoder, then diffusion in its latents as Stable Diffusion's, on captions, never on labels."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from gencls.models.numbers import training_dtype
from gencls.training.data import Photographs, Photos, Pool
from gencls.training.loop import Run, beside, compiled, fit, stratified
from gencls.training.pixel import PHOTO_TEXTS, tokenizer

#: Weight of the KL divergence, in nats a pixel value, beside the absolute error of one. A Laplace distribution as wide as the error, about
#: 0.06, would make it 0.06: a variational autoencoder in earnest, whose latents keep less.
KL = 0.01
#: Share of the captions that are left empty, so that the pipeline can guide its samples.
UNSAID = 0.1


def latent_pipeline(
    seed: int, *, width: int, side: int = 64, channels: int = 16, texts: Iterable[str] = PHOTO_TEXTS
) -> StableDiffusionPipeline:
    """The untrained pipeline for images of `side` pixels, its weights a function of the seed.

    The autoencoder divides the sides by 8: 3×64×64 values become 16×8×8. Its many pixels have few channels. In the U-Net, text is attended to at
    8×8 and 4×4 and, pooled, shifts and scales every block with the timestep, as in DeepFloyd IF (`addition_embed_type`).
    """
    torch.manual_seed(seed)
    words = tokenizer(texts)
    vae = AutoencoderKL(
        latent_channels=channels, block_out_channels=(width // 6, width // 3, 2 * width // 3, 2 * width // 3), norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1,
        sample_size=side, mid_block_add_attention=False, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
    # Codes start out nearly certain, so that the decoder has something to read from the first step on.
    nn.init.constant_(vae.encoder.conv_out.bias[channels:], -6.0)
    text = CLIPTextConfig(
        vocab_size=len(words), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=16, pad_token_id=words.pad_token_id,
        bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id,
    )  # fmt: skip
    encoder = CLIPTextModel(text)
    nn.init.normal_(encoder.get_input_embeddings().weight, std=0.5)  # as in `gencls.training.pixel.pipeline`
    unet = UNet2DConditionModel(
        sample_size=side // 8, in_channels=channels, out_channels=channels, layers_per_block=1,
        block_out_channels=(width, 7 * width // 6), norm_num_groups=8, down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2, cross_attention_dim=width,
        attention_head_dim=(6, 7),  # as diffusers names the number of heads
        use_linear_projection=True, resnet_time_scale_shift="scale_shift", time_embedding_dim=2 * width,
        addition_embed_type="text", addition_embed_type_num_heads=2,
    )  # fmt: skip
    noise = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
        clip_sample=False, set_alpha_to_one=False, steps_offset=1,
    )  # fmt: skip
    return StableDiffusionPipeline(vae, encoder, words, unet, noise, None, None, requires_safety_checker=False)


def train_autoencoder(vae: AutoencoderKL, photos: Pool, run: Run) -> float:
    """Train to reconstruct, ‖x̂ − x‖₁ + `KL`·KL(q(z|x) ‖ N(0, 1)) a pixel value; returns seconds."""
    vae.to(memory_format=torch.channels_last)
    encode, decode = compiled(vae.encoder), compiled_decoder(vae.decoder)

    def loss(step: int) -> Tensor:
        generator = run.generator(step)
        (x,) = beside(vae, _channels_last(photos.batch(run.batch, generator)[0] * 2 - 1))  # batch×3×64×64
        code = DiagonalGaussianDistribution(encode(x).float())
        z = code.mean + code.std * torch.randn(code.mean.shape, generator=generator).to(x.device)
        off = decode(_channels_last(z)).float() - x
        return off.abs().mean() + KL * code.kl().mean() / x[0].numel()

    seconds = fit(vae, loss, run, learning_rate=5e-4)
    vae.to(memory_format=torch.contiguous_format)
    return seconds


def compiled_decoder(decoder: nn.Module) -> nn.Module:
    """The decoder, compiled but for its upsamplers: with them inside, all that stands before the last one gets a gradient of exactly zero.

    So it was seen with torch 2.13 on processors (Inductor, channels last); the images that come out were right. The U-Net's gradients were right.
    """
    for part in decoder.modules():
        if isinstance(part, Upsample2D):
            part.forward = torch.compiler.disable(part.forward)
    return compiled(decoder)


class Latents:
    """The latents of every photograph and of its mirror image, computed once: the mean of q(z|x), scaled to the standard deviation 1.

    The scale becomes the autoencoder's `scaling_factor`.
    """

    def __init__(self, vae: AutoencoderKL, photos: Photos | Photographs) -> None:
        both = (photos.images, photos.images.flip(2))  # n×64×64×3
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=training_dtype() is torch.bfloat16):
            found = torch.stack([torch.cat([_mean(vae, part) for part in some.split(128)]) for some in both])
        vae.register_to_config(scaling_factor=1 / found.std().item())
        self.values = found * vae.config.scaling_factor  # 2×n×c×h×w
        self.photos = photos

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Latents size×c×h×w and the numbers of their classes, each photograph alike likely, half of them mirrored."""
        rows = torch.randint(len(self.photos.labels), (size,), generator=generator)
        mirrored = (torch.rand(size, generator=generator) < 0.5).long()
        return self.values[mirrored, rows], self.photos.labels[rows]

    def captions(self, labels: Tensor, generator: torch.Generator) -> list[str]:
        """A caption a label, as of the photographs."""
        return self.photos.captions(labels, generator)


def _mean(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """n×64×64×3 uint8 → n×c×h×w; `forward`, since compiling once more, without gradients, takes longer than it saves."""
    moments: Tensor = vae.encoder.forward(images.permute(0, 3, 1, 2).float() / 127.5 - 1)
    return moments.float().chunk(2, 1)[0]


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def train_latent(
    pipe: StableDiffusionPipeline,
    photos: Photos | Photographs,
    run: Run,
    *,
    first: int,
    most: float = 6.0,
    rate: float = 1e-3,
) -> float:
    """Train the autoencoder for `first` steps of batch/4 photographs, then U-Net and text encoder together to predict v; returns seconds.

    The squared error of x̂₀ is weighted by 1 + SNR, which makes it the v-error (Salimans & Ho 2022), kept from growing beyond `most`, as
    in min-SNR (Hang et al. 2023): min(1, most·σ²)·‖v̂ − v‖². Timesteps are uniform and stratified over the batch. The autoencoder is the
    stage before (`Run.first`).
    """
    seconds = train_autoencoder(pipe.vae, photos, run.first(first, max(1, run.batch // 4), "autoencoder"))
    pipe.vae.half().float()  # as it will be saved
    latents = Latents(pipe.vae, photos)
    alphas = pipe.scheduler.alphas_cumprod
    pipe.unet.set_attn_processor(AttnProcessor())  # the fused kernel's backward pass is slow on 64 tokens
    pipe.unet.to(memory_format=torch.channels_last)
    network = compiled(pipe.unet)
    model = nn.ModuleDict({"unet": pipe.unet, "text_encoder": pipe.text_encoder})

    def loss(step: int) -> Tensor:
        generator = run.generator(step)
        x0, labels = latents.batch(run.batch, generator)
        timestep = stratified(run.batch, len(alphas), generator)
        noise = torch.randn(x0.shape, generator=generator)
        alpha = alphas[timestep].sqrt()[:, None, None, None]
        sigma = (1 - alphas[timestep]).sqrt()[:, None, None, None]
        unsaid = (torch.rand(run.batch, generator=generator) < UNSAID).tolist()
        said = ["" if u else c for u, c in zip(unsaid, latents.captions(labels, generator), strict=True)]
        weight = (most * (1 - alphas[timestep])).clamp(max=1)
        x_t = _channels_last(alpha * x0 + sigma * noise)
        x_t, v, timestep, weight = beside(model, x_t, alpha * noise - sigma * x0, timestep, weight)
        text, _ = pipe.encode_prompt(said, x_t.device, 1, do_classifier_free_guidance=False)
        found = network(x_t, timestep, encoder_hidden_states=text, return_dict=False)[0].float()
        return (weight * (found - v).square().mean((1, 2, 3))).mean()

    seconds += fit(model, loss, run, learning_rate=rate)
    pipe.unet.to(memory_format=torch.contiguous_format)
    return seconds


def reconstruction(vae: AutoencoderKL, images: Tensor) -> float:
    """Peak signal-to-noise ratio of what the autoencoder makes of n×h×w×3 uint8 images, 10·log₁₀(255²/mean squared error), in dB."""
    with torch.no_grad():
        decoded = vae.decoder.forward(_mean(vae, images)).clamp(-1, 1)  # n×3×h×w
    off = (decoded.permute(0, 2, 3, 1) + 1) * 127.5 - images
    return float(10 * (255**2 / off.square().mean()).log10())
