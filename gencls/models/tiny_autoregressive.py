"""Janus and Emu3, tiny and with random weights, for `gencls.models.tiny`: real classes, letters for a vocabulary.

Special tokens and templates are spelled as on the hub, so that prompts can be read.
"""

from __future__ import annotations

import string
from typing import Any

from tokenizers import Tokenizer, models
from tokenizers.processors import TemplateProcessing
from transformers import (
    Emu3Config,
    Emu3ForConditionalGeneration,
    Emu3ImageProcessor,
    Emu3Processor,
    Emu3TextConfig,
    Emu3VQVAEConfig,
    JanusConfig,
    JanusForConditionalGeneration,
    JanusImageProcessorPil,
    JanusProcessor,
    JanusVisionConfig,
    JanusVQVAEConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

_LETTERS = [*string.ascii_letters, *string.digits, *".,'-*:\n "]
_WIDTH = 32
_CODES = 48
_HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
#: Four levels of the VQ encoder: 8 pixels a token each way. Its group norms have 32 groups.
_VQ: dict[str, Any] = {"base_channels": 32, "channel_multiplier": [1, 1, 1, 1], "num_res_blocks": 1, "embed_dim": 4}
_JANUS_TEMPLATE = (
    "{% for message in messages %}<|User|>: {{ message['content'][0]['text'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}<|Assistant|>:{% endif %}"
)


def _tokenizer(bos: str, eos: str, pad: str, special: dict[str, str], more: list[str], begins: bool) -> Any:
    """Letters, the special tokens and `more` of them; `begins`: every text begins with `bos`."""
    vocabulary = {
        token: i for i, token in enumerate(dict.fromkeys([bos, eos, pad, *special.values(), *more, *_LETTERS]))
    }
    core = Tokenizer(models.BPE(vocabulary, [], unk_token=pad))
    if begins:
        core.post_processor = TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, vocabulary[bos])])
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=bos, eos_token=eos, pad_token=pad, unk_token=pad, padding_side="left",
        extra_special_tokens=special,
    )  # fmt: skip
    made.add_tokens(more, special_tokens=True)
    return made


def _text(words: Any) -> dict[str, Any]:
    """What the configuration of a small language model says."""
    return {
        "vocab_size": len(words), "hidden_size": _WIDTH, "intermediate_size": 37, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": words.pad_token_id,
        "bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "max_position_embeddings": 512,
    }  # fmt: skip


def janus() -> tuple[Any, Any]:
    """Janus at 32 pixels, 4×4 tokens: the network and its processor."""
    special = {"boi_token": "<begin_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_placeholder>"}
    words = _tokenizer(
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        "<｜▁pad▁｜>",
        special,
        ["<|User|>", "<|Assistant|>"],
        begins=True,
    )
    config = JanusConfig(
        text_config=LlamaConfig(**_text(words)),
        vision_config=JanusVisionConfig(
            hidden_size=_WIDTH, num_hidden_layers=1, num_attention_heads=4, mlp_ratio=1.0, image_size=32, patch_size=8,
            projection_dim=_WIDTH, num_image_tokens=16,
        ),
        vq_config=JanusVQVAEConfig(
            **_VQ, num_embeddings=_CODES, latent_channels=8, projection_dim=_WIDTH, image_token_embed_dim=_WIDTH
        ),
        image_token_id=words.convert_tokens_to_ids(special["image_token"]),
    )  # fmt: skip
    network = JanusForConditionalGeneration(config)
    network.generation_config.generation_kwargs = {"boi_token_id": words.convert_tokens_to_ids(special["boi_token"])}
    pictures = JanusImageProcessorPil(size={"height": 32, "width": 32}, **_HALF)
    return network, JanusProcessor(
        pictures, words, chat_template=_JANUS_TEMPLATE, use_default_system_prompt=True, num_image_tokens=16
    )


def emu3() -> tuple[Any, Any]:
    """Emu3 at 32 pixels, 4×4 tokens and an end of line after each four: the network and its processor."""
    special = {
        "image_token": "<image>", "boi_token": "<|image start|>", "eoi_token": "<|image end|>",
        "image_wrapper_token": "<|image token|>", "eof_token": "<|extra_201|>",
    }  # fmt: skip
    visual = [f"<|visual token {i:06d}|>" for i in range(_CODES)]
    words = _tokenizer(
        "<|extra_203|>", "<|extra_204|>", "<|endoftext|>", special, ["<|extra_200|>", *visual], begins=False
    )
    config = Emu3Config(
        text_config=Emu3TextConfig(**_text(words)),
        vq_config=Emu3VQVAEConfig(
            **_VQ, codebook_size=_CODES, latent_channels=4, hidden_size=_WIDTH, attn_resolutions=[3]
        ),
        vocabulary_map=words.get_vocab(),
        image_area=32 * 32,
    )
    pictures = Emu3ImageProcessor(min_pixels=8 * 8, max_pixels=64 * 64, **_HALF)
    return Emu3ForConditionalGeneration(config), Emu3Processor(pictures, words)
