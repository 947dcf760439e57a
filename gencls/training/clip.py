"""How `natural/clip` is trained: an image tower and a text tower, brought together on photographs and their captions (Radford et al. 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor

from gencls.training.classifiers import ATTENTION, tower
from gencls.training.data import Pool
from gencls.training.loop import Run, beside, compiled, fit
from gencls.training.pixel import PHOTO_TEXTS, tokenizer

#: exp(logit_scale) stops here, as in CLIP's own training.
MOST = 100.0


def processor(side: int) -> CLIPProcessor:
    """What makes images and texts ready: one token a word of the captions; the central square at `side` pixels, (value / 255 − 0.5) / 0.5."""
    square = {"height": side, "width": side}
    images = CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size=square, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return CLIPProcessor(images, tokenizer(PHOTO_TEXTS))


def clip(seed: int, width: int, depth: int, patch_size: int, side: int) -> CLIPModel:
    """The untrained towers, their weights a function of the seed; width, depth and patch_size are of the image's."""
    torch.manual_seed(seed)
    words = processor(side).tokenizer
    text = {
        "vocab_size": len(words), "hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": words.model_max_length,
        "pad_token_id": words.pad_token_id, "bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id,
    }  # fmt: skip
    images = tower(width, depth, patch_size, side)
    network = CLIPModel(
        CLIPConfig(text_config=text, vision_config=images, projection_dim=128, attn_implementation=ATTENTION)
    )
    # Words start out far apart, as in `gencls.training.pixel.pipeline`.
    nn.init.normal_(network.text_model.get_input_embeddings().weight, std=0.5)
    return network


def contrast(images: Tensor, texts: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Symmetric cross-entropy of the scaled products s·⟨image_i, text_j⟩ with all pairs of a batch whose caption is the same.

    images, texts n×d of length one, scale a scalar, same n×n: whether captions i and j are the same text. The target of row i, and of
    column i, is spread evenly over the j with same_ij; were all captions different, it would be CLIP's own loss.
    """
    logits = scale * images @ texts.T
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def train_clip(
    network: CLIPModel,
    photos: Pool,
    run: Run,
    *,
    rate: float = 1e-3,
    fast: bool = False,
) -> float:
    """Train both towers by `contrast`; returns seconds.

    `rate`: the highest learning rate; `fast`: the image tower compiled.

    The classes that the photographs come from are not shown: what goes together is read off the captions' own words. So "a photo of
    a tabby" and "a picture of a cat" count as two texts, and so do two wordings of one name, though both fit both photographs. In
    expectation that does no harm: the loss is least where the scaled product is log p(image, text) / (p(image)·p(text)) up to a constant of each
    image or text (van den Oord et al. 2018), and texts that fit as well get the same; a cross-entropy on labels would instead be told
    which words mean one class.
    """
    words = processor(network.config.vision_config.image_size).tokenizer
    if fast:
        compiled(network.vision_model)

    def loss(step: int) -> Tensor:
        generator = run.generator(step)
        images, labels = photos.batch(run.batch, generator)
        tokens = words(photos.captions(labels, generator), padding=True, truncation=True, return_tensors="pt")
        same = (tokens.input_ids[:, None] == tokens.input_ids).all(-1)
        images, same = beside(network, images * 2 - 1, same)
        found = network(**tokens.to(images.device), pixel_values=images)
        scale = network.logit_scale.clamp(max=math.log(MOST)).exp()
        with torch.autocast(images.device.type, enabled=False):
            return contrast(found.image_embeds.float(), found.text_embeds.float(), scale, same.float())

    return fit(network, loss, run, learning_rate=rate)
