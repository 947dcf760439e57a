"""How `shapes/ar` and `natural/ar` are trained: image tokens by a VQ autoencoder, then a causal transformer on captions and tokens.

Both are parts of one small `JanusForConditionalGeneration`, so that what is saved is an ordinary transformers folder, asked for its
likelihoods by the code that asks Janus. Neither part ever sees a label.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    GenerationConfig,
    JanusConfig,
    JanusForConditionalGeneration,
    JanusImageProcessorPil,
    JanusProcessor,
    JanusVisionConfig,
    JanusVQVAEConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from gencls.training.data import Photographs, Photos
from gencls.training.loop import Run, beside, compiled, fit
from gencls.training.pixel import SHAPE_TEXTS, tokenizer

CODES = 512
#: Of the VQ encoder; its group norms have 32 groups, and one channel a group would take the mean colour of an image away.
_CHANNELS = 64
#: What is said is the prompt and nothing else.
_TEMPLATE = "{% for message in messages %}{{ message['content'][0]['text'] }}{% endfor %}"
#: Share of a batch that Janus's own decoder, which is slow, learns to draw.
_DRAWN = 1 / 8
#: Channels of the quick decoder that 8×8 tokens are learned with; that of more tokens has fewer, for as many products a token.
_QUICK = 256
#: Temperature of the soft choice of codes whose entropy keeps all codes in use.
_SOFTNESS = 0.05
#: Token ids that captions are filled up to.
_LONGEST = 12
#: Share of the transformer's channels, and of the tokens that it is told, that are left out in training.
DROPOUT, UNTOLD = 0.15, 0.15


@dataclass
class Janus:
    """The network and its processor, saved together."""

    network: JanusForConditionalGeneration
    processor: JanusProcessor

    @property
    def grid(self) -> int:
        """Rows, and columns, of tokens."""
        return int(self.network.model.vqmodel.quantize.quant_state_dims[0])

    def save_pretrained(self, folder: Path, **options: Any) -> None:
        """An ordinary transformers folder, its weights in half precision."""
        copy.deepcopy(self.network).half().save_pretrained(folder, **options)
        self.processor.save_pretrained(folder)

    def prompts(self, captions: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        """Captions as the processor would prompt with them, filled up on the left: token ids and which count, both n×length."""
        said = [caption + self.processor.image_start_token for caption in captions]
        found = self.processor.tokenizer(said, padding="max_length", max_length=length, return_tensors="pt")
        return found["input_ids"], found["attention_mask"]

    @torch.no_grad()
    def write(self, captions: Sequence[str], generator: torch.Generator, guidance: float = 1.0) -> Tensor:
        """The tokens of a picture a caption, n×T, each drawn given those before it, at temperature 1.

        With a `guidance` g above 1 they are drawn by p(token | caption)·(p(token | caption)/p(token))^(g − 1), as Parti's are (Yu et al. 2022), but
        this model was not trained without a caption: p(token) is its own mixture over all the captions, each as likely as the
        tokens so far make it.
        """
        n, decoder = len(captions), self.network.model.language_model
        m = n if guidance > 1 else 1  # captions that each picture is read under, its own first
        reading = (torch.arange(n)[:, None] + torch.arange(m)).flatten() % n
        words, mask = beside(self.network, *(part[reading] for part in self.prompts(captions, _LONGEST)))
        fed, cache, codes = self.network.get_input_embeddings()(words), None, []
        posterior = torch.zeros(n, m)  # log p(tokens so far | caption)
        for _ in range(self.grid**2):
            out = decoder(inputs_embeds=fed, attention_mask=mask, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            each = self.network.model.generation_head(out.last_hidden_state[:, -1]).float().log_softmax(-1).cpu()
            each = each.unflatten(0, (n, m))  # n×m×codes
            mixed = (posterior.log_softmax(1)[..., None] + each).logsumexp(1)
            likely = (each[:, 0] + (guidance - 1) * (each[:, 0] - mixed)).softmax(-1)
            codes.append(torch.multinomial(likely, 1, generator=generator))
            posterior = posterior + each.gather(2, codes[-1][:, None].expand(n, m, 1))[..., 0]
            (told,) = beside(self.network, codes[-1].repeat_interleave(m, 0))
            fed = self.network.prepare_embeddings_for_image_generation(told)
            mask = F.pad(mask, (0, 1), value=1)
        return torch.cat(codes, 1)

    @torch.no_grad()
    def draw(self, captions: Sequence[str], generator: torch.Generator, guidance: float = 1.0) -> np.ndarray:
        """What is written, decoded: n×s×s×3 in [0, 1]."""
        (written,) = beside(self.network, self.write(captions, generator, guidance))
        pixels = self.network.model.vqmodel.decode(written).float().cpu()  # n×3×s×s in [−1, 1]
        return (pixels / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()


def _words(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """The words of `gencls.training.pixel.tokenizer` and what begins an image; nothing ends a prompt."""
    plain = tokenizer(texts)
    core, start = plain.backend_tokenizer, plain.bos_token
    core.post_processor = TemplateProcessing(single=f"{start} $A", special_tokens=[(start, plain.bos_token_id)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token=plain.unk_token, pad_token=plain.pad_token, bos_token=start,
        eos_token=plain.eos_token, padding_side="left",
        extra_special_tokens={"image_token": "[image]", "boi_token": "[begin]", "eoi_token": "[finish]"},
    )  # fmt: skip


def janus(seed: int, *, width: int, depth: int, side: int, grid: int = 8, texts: Iterable[str] = SHAPE_TEXTS) -> Janus:
    """The untrained network for images of `side` pixels and `grid` rows and columns of tokens, its weights a function of the seed.

    `texts` as in `gencls.training.pixel.tokenizer`. A prompt is `[start] a photo of a star [begin]`. The tower that would read images is
    never run and as small as the class permits.
    """
    torch.manual_seed(seed)
    words = _words(texts)
    levels = int(math.log2(side // grid)) + 1
    config = JanusConfig(
        text_config=LlamaConfig(
            vocab_size=len(words), hidden_size=width, intermediate_size=3 * width, num_hidden_layers=depth,
            num_attention_heads=width // 64, max_position_embeddings=grid**2 + 32, pad_token_id=words.pad_token_id,
            bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id,
        ),
        vision_config=JanusVisionConfig(
            hidden_size=1, num_hidden_layers=0, num_attention_heads=1, mlp_ratio=1.0, image_size=side,
            patch_size=side // grid, projection_dim=1, depth=1, num_image_tokens=grid**2,
        ),
        vq_config=JanusVQVAEConfig(
            base_channels=_CHANNELS, channel_multiplier=[1] * levels, num_res_blocks=0, latent_channels=_CHANNELS,
            embed_dim=8, num_embeddings=CODES, projection_dim=width, image_token_embed_dim=width,
        ),
        image_token_id=words.convert_tokens_to_ids("[image]"),
    )  # fmt: skip
    network = JanusForConditionalGeneration(config)
    network.generation_config = GenerationConfig(
        bos_token_id=words.bos_token_id, pad_token_id=words.pad_token_id,
        generation_kwargs={"boi_token_id": words.convert_tokens_to_ids("[begin]")},
    )  # fmt: skip
    nn.init.normal_(network.get_input_embeddings().weight, std=0.5)  # words start out far apart, as in `pixel`
    nn.init.normal_(network.model.vqmodel.quantize.embedding.weight, std=0.1)
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    pictures = JanusImageProcessorPil(size={"height": side, "width": side}, **half)
    return Janus(network, JanusProcessor(pictures, words, chat_template=_TEMPLATE, num_image_tokens=grid**2))


# -- tokens ------------------------------------------------------------------------------------------------------------


def quantized(vq: Any, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """n×3×s×s in [−1, 1] → latents z of length 1, n×d×rows×columns; their cosines with every code, n×rows×columns×K; the nearest codes, n×rows×columns."""
    z = F.normalize(vq.quant_conv(vq.encoder(pixels)).float(), dim=1)
    cosines = torch.einsum("nchw,kc->nhwk", z, F.normalize(vq.quantize.embedding.weight, dim=-1))
    return z, cosines, cosines.argmax(-1)


def _token_loss(vq: Any, quick: nn.Module, pixels: Tensor) -> Tensor:
    """The VQ autoencoder's loss: ‖x − x̂‖² + ‖sg(z) − e‖² + ¼‖z − sg(e)‖² + (log K − H(mean p)) / 50, each a mean.

    e is the code nearest in angle to z, x̂ is drawn from it by a quick decoder, and the gradient passes e as if it were z (van den Oord
    et al. 2017; codes of length 1: Yu et al. 2022). p = softmax(cosines / τ); a large entropy H of its mean keeps codes from dying. Janus's own
    decoder learns to draw the same codes, from a few images of the batch and without a say in them.
    """
    z, cosines, codes = quantized(vq, pixels)
    e = F.normalize(vq.quantize.embedding(codes), dim=-1).permute(0, 3, 1, 2)
    passed = z + (e - z).detach()
    few = max(1, round(len(pixels) * _DRAWN))
    drawn = vq.decoder(vq.post_quant_conv(e[:few].detach()))
    usage = (cosines / _SOFTNESS).softmax(-1).mean((0, 1, 2))
    return (
        (quick(passed) - pixels).square().mean()
        + (drawn - pixels[:few]).square().mean()
        + (z.detach() - e).square().mean()
        + (z - e.detach()).square().mean() / 4
        + (math.log(CODES) + (usage * usage.log()).sum()) / 50
    )


def train_tokens(vq: Any, photos: Photos | Photographs, run: Run) -> float:
    """Train the VQ autoencoder, then round it to half precision, in which it is saved; returns seconds."""
    torch.manual_seed(run.seed)
    grid = int(vq.quantize.quant_state_dims[0])
    patch, channels = photos.images.shape[1] // grid, _QUICK * 8 // grid
    layers: list[nn.Module] = [nn.Conv2d(vq.config.embed_dim, channels, 3, padding=1)]
    for _ in range(3):
        layers += [nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1)]
    quick = nn.Sequential(
        *layers, nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, 3 * patch**2, 1), nn.PixelShuffle(patch)
    )
    model: Any = nn.ModuleDict({"vq": vq, "quick": quick})
    model.to(memory_format=torch.channels_last)

    def loss(step: int) -> Tensor:
        images, _ = photos.batch(run.batch, run.generator(step))
        (x,) = beside(model, images.mul(2).sub(1).contiguous(memory_format=torch.channels_last))
        return _token_loss(vq, quick, x)

    seconds = fit(model, loss, run, learning_rate=2e-3)
    vq.to(memory_format=torch.contiguous_format)
    with torch.no_grad():
        for parameter in vq.parameters():
            parameter.copy_(parameter.half())
    return seconds


@torch.no_grad()
def _codes(vq: Any, photos: Photos | Photographs) -> Tensor:
    """The tokens of every photo, and of its mirror image where training shows those: views×n×T."""
    views = (False, True) if isinstance(photos, Photographs) else (False,)
    found = []
    for mirrored in views:
        for part in photos.images.split(256):
            pixels = part.permute(0, 3, 1, 2).float() / 127.5 - 1
            found.append(quantized(vq, pixels.flip(-1) if mirrored else pixels)[2].flatten(1))
    return torch.cat(found).unflatten(0, (len(views), -1))


# -- likelihood --------------------------------------------------------------------------------------------------------


def log_likelihoods(
    network: JanusForConditionalGeneration, words: Tensor, counted: Tensor, codes: Tensor, told: Tensor | None = None
) -> Tensor:
    """log p(code | codes before it, prompt), n×T.

    words, counted: n×S, of `Janus.prompts`. codes: n×T. told: n×T−1, zero where the code before is kept from the network.
    """
    every = network.prepare_embeddings_for_image_generation(torch.arange(CODES, device=codes.device))
    before = F.embedding(codes[:, :-1], every)
    if told is not None:
        before = before * told[..., None]
    fed = torch.cat([network.get_input_embeddings()(words), before], 1)
    mask = F.pad(counted, (0, codes.shape[1] - 1), value=1)
    decoder = network.model.language_model
    states = decoder(inputs_embeds=fed, attention_mask=mask, use_cache=False).last_hidden_state[:, -codes.shape[1] :]
    logits = network.model.generation_head(states).float()
    return -F.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="none").view_as(codes)


@contextmanager
def _dropout(decoder: Any) -> Iterator[None]:
    """Whole channels of what each layer adds are left out of a sequence, as Llama's code has no dropout of its own there."""

    def drop(module: nn.Module, _: Any, added: Tensor) -> Tensor:
        kept = F.dropout(torch.ones(len(added), 1, added.shape[2], dtype=added.dtype), DROPOUT, module.training)
        return added * kept.to(added.device)

    ends = [end for layer in decoder.layers for end in (layer.self_attn.o_proj, layer.mlp.down_proj)]
    handles = [end.register_forward_hook(drop) for end in ends]
    yield
    for handle in handles:
        handle.remove()


def train_transformer(janus: Janus, photos: Photos | Photographs, run: Run, fast: bool) -> float:
    """Train the transformer on captions and the tokens of the photos by maximum likelihood; returns seconds.

    `fast`: compiled, see `gencls.training.loop.compiled`.
    """
    network, vq = janus.network, janus.network.model.vqmodel
    table = _codes(vq, photos)
    decoder, parts = network.model.language_model, network.model
    with torch.no_grad():  # codes that look alike start out alike
        parts.generation_embeddings.weight.copy_(
            F.normalize(vq.quantize.embedding.weight, dim=-1) * vq.config.embed_dim**0.5
        )
    names = ("language_model", "generation_embeddings", "generation_aligner", "generation_head")
    model = nn.ModuleDict({name: getattr(parts, name) for name in names})
    attention = decoder.config._attn_implementation
    if table.shape[2] < 100:
        decoder.config._attn_implementation = "eager"  # plain products are faster than fused kernels on few tokens

    def loss(step: int) -> Tensor:
        generator = run.generator(step)
        torch.manual_seed(generator.initial_seed())  # of the dropout
        rows = torch.randint(table.shape[1], (run.batch,), generator=generator)
        codes = table[torch.randint(len(table), (run.batch,), generator=generator), rows]
        words, counted = janus.prompts(photos.captions(photos.labels[rows], generator), _LONGEST)
        told = (torch.rand(run.batch, codes.shape[1] - 1, generator=generator) >= UNTOLD).float()
        words, counted, codes, told = beside(model, words, counted, codes, told)
        return -log_likelihoods(network, words, counted, codes, told).mean()

    with _dropout(decoder):
        for layer in decoder.layers if fast else ():
            compiled(layer)
        seconds = fit(model, loss, run, learning_rate=1.5e-3, weight_decay=0.2)
    decoder.config._attn_implementation = attention
    return seconds


def train_autoregressive(janus: Janus, photos: Photos | Photographs, run: Run, *, first: int) -> float:
    """Train the VQ autoencoder for the `first` steps (`Run.first`), then the transformer; returns seconds."""
    seconds = train_tokens(janus.network.model.vqmodel, photos, run.first(first, run.batch, "tokens"))
    return seconds + train_transformer(janus, photos, run, fast=run.steps >= 500)  # compiling takes as long as that
