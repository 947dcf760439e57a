"""Pipelines and classifiers of the real classes, tiny and with random weights: to try a family, or a whole run, without a download.

`python -m gencls.models.tiny FAMILY FOLDER` writes one as an ordinary folder. Their answers mean nothing.
"""

from __future__ import annotations

import argparse
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    IFPipeline,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    PNDMScheduler,
    SanaPipeline,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    ConvNextImageProcessorPil,
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    ResNetConfig,
    ResNetForImageClassification,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    Siglip2Processor,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipProcessor,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from gencls.models.labels import imagenet_labels
from gencls.models.tiny_autoregressive import emu3, janus

_LETTERS = [*string.ascii_lowercase, *string.digits, *".,'-"]
_WIDTH = 32  # of every text encoder


# -- text ------------------------------------------------------------------------------------------------------------


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer with single letters for a vocabulary."""
    ends = ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate([*_LETTERS, *(f"{c}</w>" for c in _LETTERS), *ends])}
    return CLIPTokenizer(vocabulary, [], model_max_length=77)


def t5_tokenizer() -> T5Tokenizer:
    """T5's tokenizer with single letters for a vocabulary."""
    pieces = ["<pad>", "</s>", "<unk>", "▁", *_LETTERS]
    return T5Tokenizer([(piece, -float(i)) for i, piece in enumerate(pieces)], extra_ids=0)


def gemma_tokenizer() -> GemmaTokenizer:
    """Gemma's tokenizer with single letters for a vocabulary."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *_LETTERS, *string.ascii_uppercase]
    return GemmaTokenizer({piece: i for i, piece in enumerate(pieces)}, [])


def clip(tokenizer: CLIPTokenizer, kind: type = CLIPTextModel) -> Any:
    """CLIP's text encoder, `CLIPTextModel` or `CLIPTextModelWithProjection`."""
    return kind(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=_WIDTH, intermediate_size=37, num_hidden_layers=3,
            num_attention_heads=4, projection_dim=_WIDTH, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip


def t5(tokenizer: T5Tokenizer) -> T5EncoderModel:
    """T5's encoder."""
    return T5EncoderModel(
        T5Config(vocab_size=len(tokenizer), d_model=_WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    )


def gemma(tokenizer: GemmaTokenizer) -> Gemma2Model:
    """Gemma 2, as Sana reads prompts with it."""
    return Gemma2Model(
        Gemma2Config(
            vocab_size=len(tokenizer), hidden_size=_WIDTH, intermediate_size=37, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        )
    )  # fmt: skip


# -- images ----------------------------------------------------------------------------------------------------------


def vae(channels: int, **settings: Any) -> AutoencoderKL:
    """An autoencoder that halves the sides; `settings` are its scaling, shift, and so on."""
    return AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=channels, block_out_channels=(4, 8), norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, **settings,
    )  # fmt: skip


def unet(size: int, channels: int, out: int, width: int = _WIDTH, **settings: Any) -> UNet2DConditionModel:
    """A U-Net for size×size inputs that attends to text of this width."""
    return UNet2DConditionModel(
        sample_size=size, in_channels=channels, out_channels=out, layers_per_block=1, block_out_channels=(4, 8),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width, attention_head_dim=2, norm_num_groups=2, **settings,
    )  # fmt: skip


def _scaled_linear(kind: type, **settings: Any) -> Any:
    return kind(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, **settings)


# -- pipelines -------------------------------------------------------------------------------------------------------


def stable_diffusion(scheduler: Any = None) -> StableDiffusionPipeline:
    """Stable Diffusion 1.x: ε."""
    words = clip_tokenizer()
    return StableDiffusionPipeline(
        vae(4, scaling_factor=0.18215), clip(words), words, unet(16, 4, 4),
        scheduler or _scaled_linear(PNDMScheduler, skip_prk_steps=True), None, None, requires_safety_checker=False,
    )  # fmt: skip


def stable_diffusion_2() -> StableDiffusionPipeline:
    """Stable Diffusion 2.x at 768 pixels: v."""
    return stable_diffusion(_scaled_linear(DDIMScheduler, clip_sample=False, prediction_type="v_prediction"))


def stable_diffusion_xl() -> StableDiffusionXLPipeline:
    """SDXL: two text encoders, pooled text, sizes."""
    words = clip_tokenizer()
    network = unet(
        16, 4, 4, 2 * _WIDTH, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + _WIDTH,
    )  # fmt: skip
    return StableDiffusionXLPipeline(
        vae(4, scaling_factor=0.13025), clip(words), clip(words, CLIPTextModelWithProjection), words, words, network,
        _scaled_linear(EulerDiscreteScheduler, timestep_spacing="leading"), add_watermarker=False,
    )  # fmt: skip


def stable_diffusion_3() -> StableDiffusion3Pipeline:
    """Stable Diffusion 3.5: flow matching, two CLIPs and T5."""
    words, pieces = clip_tokenizer(), t5_tokenizer()
    first, second = (clip(words, CLIPTextModelWithProjection) for _ in range(2))
    network = SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=8, out_channels=8, num_layers=2, attention_head_dim=8,
        num_attention_heads=4, joint_attention_dim=2 * _WIDTH, caption_projection_dim=32,
        pooled_projection_dim=2 * _WIDTH, pos_embed_max_size=16, dual_attention_layers=(0,), qk_norm="rms_norm",
    )  # fmt: skip
    third = T5EncoderModel(
        T5Config(vocab_size=len(pieces), d_model=2 * _WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    )
    code = vae(8, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    return StableDiffusion3Pipeline(network, scheduler, code, first, words, second, words, third, pieces)


def flux(guidance: bool = False) -> FluxPipeline:
    """Flux: packed latents, T5 and pooled CLIP; `guidance`: told a guidance scale, as FLUX.1-dev is."""
    words, pieces = clip_tokenizer(), t5_tokenizer()
    network = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=_WIDTH, pooled_projection_dim=_WIDTH,
        guidance_embeds=guidance, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    code = vae(4, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=guidance)
    return FluxPipeline(scheduler, code, clip(words), words, t5(pieces), pieces, network)


def flux_guided() -> FluxPipeline:
    """Flux as FLUX.1-dev is: distilled, and told a guidance scale."""
    return flux(guidance=True)


def pixart(size: int = 16, kind: Any = PixArtAlphaPipeline, **settings: Any) -> Any:
    """PixArt-α: T5 with masks, learned variance; at a sample size of 128 it is told resolution and aspect ratio."""
    pieces = t5_tokenizer()
    network = PixArtTransformer2DModel(
        num_attention_heads=3, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2,
        cross_attention_dim=24, sample_size=size, patch_size=max(2, size // 16), caption_channels=_WIDTH, **settings,
    )  # fmt: skip
    scheduler = DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear")
    return kind(pieces, t5(pieces), vae(4, scaling_factor=0.18215), network, scheduler)


def pixart_1024() -> PixArtAlphaPipeline:
    """PixArt-α as at 1024 pixels: told resolution and aspect ratio."""
    return pixart(128)


def pixart_sigma() -> PixArtSigmaPipeline:
    """PixArt-Σ."""
    return pixart(128, PixArtSigmaPipeline, use_additional_conditions=False)


def sana() -> SanaPipeline:
    """Sana: Gemma, a deep-compression autoencoder, flow matching in a DPM solver."""
    words = gemma_tokenizer()
    network = SanaTransformer2DModel(
        in_channels=4, out_channels=4, num_attention_heads=4, attention_head_dim=8, num_layers=1,
        num_cross_attention_heads=4, cross_attention_head_dim=8, cross_attention_dim=32, caption_channels=_WIDTH,
        sample_size=16, patch_size=1, mlp_ratio=2.0,
    )  # fmt: skip
    code = AutoencoderDC(
        latent_channels=4, attention_head_dim=2, scaling_factor=0.41407,
        encoder_block_types=("ResBlock", "EfficientViTBlock"), decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1), encoder_qkv_multiscales=((), (5,)), decoder_qkv_multiscales=((), (5,)),
        downsample_block_type="conv", upsample_block_type="interpolate", decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
    )  # fmt: skip
    scheduler = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0)
    return SanaPipeline(words, gemma(words), code, network, scheduler)


def deepfloyd() -> IFPipeline:
    """DeepFloyd IF's base model: pixels, T5, learned variance."""
    pieces = t5_tokenizer()
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type="learned_range", thresholding=True)
    return IFPipeline(
        pieces, t5(pieces), unet(16, 3, 6), scheduler, None, None, None, requires_safety_checker=False
    )  # fmt: skip


# -- classifiers -----------------------------------------------------------------------------------------------------


class Classifier:
    """A transformers network and its processor, which are saved into one folder as on the hub."""

    def __init__(self, network: Any, processor: Any) -> None:
        self.network, self.processor = network, processor
        self.components = {"network": network}

    def save_pretrained(self, folder: Path) -> None:
        """Write both."""
        self.network.save_pretrained(folder)
        self.processor.save_pretrained(folder)


def resnet() -> Classifier:
    """A ResNet with ImageNet-1k's labels: the shorter side resized, the centre cropped."""
    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        layer_type="basic",
        id2label=dict(enumerate(imagenet_labels())),
    )
    size = {"shortest_edge": 32}
    return Classifier(ResNetForImageClassification(config), ConvNextImageProcessorPil(size=size, crop_pct=0.875))


def vit() -> Classifier:
    """A ViT with ImageNet-1k's labels: the whole image made square."""
    config = ViTConfig(image_size=32, patch_size=8, id2label=dict(enumerate(imagenet_labels())), **_tower())
    return Classifier(ViTForImageClassification(config), ViTImageProcessorPil(size={"height": 32, "width": 32}))


def clip_both() -> Classifier:
    """CLIP with both its towers."""
    words = clip_tokenizer()
    text = {
        "vocab_size": len(words), "bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }  # fmt: skip
    config = CLIPConfig(
        text_config={**_tower(), **text},
        vision_config={**_tower(), "image_size": 32, "patch_size": 8},
        projection_dim=_WIDTH,
    )
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return Classifier(CLIPModel(config), CLIPProcessor(processor, words))


def siglip() -> Classifier:
    """SigLIP with Gemma's tokenizer, as SigLIP 2 at a fixed resolution has it."""
    words = gemma_tokenizer()
    config = SiglipConfig(
        text_config={**_tower(), "vocab_size": len(words), "projection_size": _WIDTH},
        vision_config={**_tower(), "image_size": 32, "patch_size": 8},
    )
    processor = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    return Classifier(SiglipModel(config), SiglipProcessor(processor, words))


def siglip_2() -> Classifier:
    """SigLIP 2 with images of their own shape (NaFlex), up to 16 patches."""
    words = gemma_tokenizer()
    config = Siglip2Config(
        text_config={**_tower(), "vocab_size": len(words), "projection_size": _WIDTH},
        vision_config={**_tower(), "num_patches": 16, "patch_size": 8},
    )
    processor = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
    return Classifier(Siglip2Model(config), Siglip2Processor(processor, words))


def _tower() -> dict[str, int]:
    return {"hidden_size": _WIDTH, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}


FAMILIES: dict[str, Callable[[], Any]] = {
    "sd": stable_diffusion,
    "sd2": stable_diffusion_2,
    "sdxl": stable_diffusion_xl,
    "sd3": stable_diffusion_3,
    "flux": flux,
    "flux-guided": flux_guided,
    "pixart": pixart,
    "pixart-1024": pixart_1024,
    "pixart-sigma": pixart_sigma,
    "sana": sana,
    "deepfloyd": deepfloyd,
    "resnet": resnet,
    "vit": vit,
    "clip": clip_both,
    "siglip": siglip,
    "siglip2": siglip_2,
    "janus": lambda: Classifier(*janus()),
    "emu3": lambda: Classifier(*emu3()),
}


def build(family: str, seed: int = 0) -> Any:
    """A pipeline or a classifier of a family of `FAMILIES`, its random weights a function of the seed.

    Matrices have a standard deviation of 0.2, where some families would begin at zero, so that prompts and timesteps show.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pipeline = FAMILIES[family]()
        for part in pipeline.components.values():
            for parameter in part.parameters() if isinstance(part, torch.nn.Module) else ():
                if parameter.ndim > 1:
                    torch.nn.init.normal_(parameter, std=0.2)
    if isinstance(pipeline, DiffusionPipeline):
        pipeline.set_progress_bar_config(disable=True)
    return pipeline


def main() -> None:
    """Write one into a folder."""
    parser = argparse.ArgumentParser(prog="python -m gencls.models.tiny", description=__doc__)
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.folder.exists() and not (given.folder.is_dir() and not any(given.folder.iterdir())):
        parser.error(f"{given.folder} holds something already; name a new folder")
    build(given.family).save_pretrained(given.folder)


if __name__ == "__main__":
    main()
