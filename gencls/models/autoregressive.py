"""An autoregressive text-to-image model as a classifier by exact likelihood: the open counterparts of Parti.

The image becomes the codes of the model's own VQ encoder; a class's prompt becomes the tokens that the model's own generation code
makes of it; the score is log p(code | codes before it, prompt), code by code, at temperature 1 and without guidance.
`AutoregressiveModel` knows how likelihoods are added up; an adapter knows how its model is fed. tests/models/test_autoregressive.py
compares both with the model's own `generate`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

from gencls.errors import GenclsError
from gencls.models.compiling import Compiling
from gencls.models.folders import open_network, opened
from gencls.models.memory import in_passes
from gencls.models.numbers import choose
from gencls.models.prompts import told_apart
from gencls.stimuli.pictures import prepare

#: Positions whose logits are computed at a time: Emu3's vocabulary makes 0.7 GB of them.
_POSITIONS = 1024


class JanusAdapter:
    """Janus, Janus-Pro (JanusForConditionalGeneration): codes have embeddings, an aligner and a head of their own.

    The prompt is the chat template's user turn and the token that begins an image, as the model's card has it. Images are cropped,
    not padded, as for generation in training (Chen et al. 2025, "Janus-Pro", section 3.1).
    """

    def __init__(self, network: Any, processor: Any) -> None:
        self.network, self.processor = network, processor
        self.decoder = network.model.language_model
        #: Pixels a side.
        self.size = int(processor.image_processor.size["height"])
        #: Rows and columns of tokens.
        self.grid = tuple(int(n) for n in network.model.vqmodel.quantize.quant_state_dims)
        #: Which positions of what is fed hold a code; the others are certain.
        self.codes = torch.arange(math.prod(self.grid))

    def prompt(self, text: str) -> Tensor:
        """A prompt's token ids, as the model's own processor makes them for an image to follow."""
        said = [{"role": "user", "content": [{"type": "text", "text": text}]}]
        turn = self.processor.apply_chat_template(said, add_generation_prompt=True)
        return self.processor(text=[turn], generation_mode="image", return_tensors="pt")["input_ids"][0]

    def encode(self, pixels: Tensor) -> Tensor:
        """1×3×s×s → codes, rows × columns.

        The code is the nearest in angle: DeepSeek's own quantizer (and transformers' decoder) scales codebook and latents to length 1,
        transformers' encoder does not.
        """
        vq = self.network.model.vqmodel
        latents = vq.quant_conv(vq.encoder(pixels))[0]
        book = normalize(vq.quantize.embedding.weight, dim=-1)
        return torch.einsum("chw,kc->hwk", latents, book).argmax(-1)

    def embed(self, codes: Tensor) -> Tensor:
        """n×T codes → what the decoder is fed after the prompt, n×T×width."""
        return self.network.prepare_embeddings_for_image_generation(codes)

    def logits(self, states: Tensor) -> Tensor:
        """The decoder's …×width → logits of every code: generation masks none."""
        return self.network.model.generation_head(states)


class Emu3Adapter:
    """Emu3 (Emu3ForConditionalGeneration): codes are words of the vocabulary; the prompt says the size, lines end with a token.

    At a code's place generation allows the visual tokens alone, at a line's end the end of line alone: that one is certain, and no
    token of the record. The size is what the model generates, a square of `image_area` pixels.
    """

    def __init__(self, network: Any, processor: Any) -> None:
        self.network, self.processor = network, processor
        self.decoder = network.model.text_model
        self.size = math.isqrt(getattr(network.config, "image_area", processor.image_area))
        side = self.size // network.model.vqmodel.spatial_scale_factor
        self.grid = (side, side)
        self.codes = torch.arange(side * (side + 1)).view(side, side + 1)[:, :-1].flatten()
        #: Code → token id.
        self.words = network.model.vocabulary_mapping.img2bpe_mapping_tensor.long()

    def prompt(self, text: str) -> Tensor:
        """A prompt's token ids, as the model's own processor makes them for an image to follow."""
        said = {"return_for_image_generation": True, "ratio": "1:1", "image_area": self.size**2}
        return self.processor(text=[text], return_tensors="pt", **said)["input_ids"][0]

    def encode(self, pixels: Tensor) -> Tensor:
        """1×3×s×s → codes, rows × columns."""
        return self.network.model.vqmodel.encode(pixels, [pixels.shape[2:]]).image_tokens[0]

    def embed(self, codes: Tensor) -> Tensor:
        """n×T codes → what the decoder is fed after the prompt, ends of lines included: n×S×width."""
        words = self.words.to(codes.device)[codes].unflatten(1, self.grid)
        end = torch.full_like(words[..., :1], self.network.model.vocabulary_mapping.eol_token_id)
        return self.decoder.embed_tokens(torch.cat([words, end], -1).flatten(1))

    def logits(self, states: Tensor) -> Tensor:
        """The decoder's …×width → logits of every code; those of other words are masked, as in generation."""
        return self.network.lm_head(states)[..., self.words.to(states.device)]


#: `model_type` in config.json → the transformers class and its adapter. A new model needs an entry here and one in `zoo.AUTOREGRESSIVE`.
ADAPTERS: dict[str, tuple[str, type[Any]]] = {
    "emu3": ("Emu3ForConditionalGeneration", Emu3Adapter),
    "janus": ("JanusForConditionalGeneration", JanusAdapter),
}


@dataclass(frozen=True)
class Prompts:
    """Prompts of one length, read once for all images: their classes, the keys and values, and the state after the last token."""

    classes: tuple[int, ...]
    cache: Any
    last: Tensor


class AutoregressiveModel:
    """A text-to-image model that writes an image token by token, ready to be asked for log-likelihoods.

    Parameters
    ----------
    network : a transformers model whose `model_type` is in `ADAPTERS`
    name : the model's id, as records and tables show it
    processor : its own, of images and text
    budget : tokens of one forward pass at most, over all stimuli and classes in it; halved where memory runs out
    dtype : of the decoder's matrix products, as in `gencls.models.diffusion.DiffusionModel`; the VQ encoder and the softmax stay float32
    """

    kind = "autoregressive"
    compiled = False
    compiling: Compiling | None = None
    noise = 0.0
    readout = "sum over the tokens of log p(token | tokens before it, prompt)"

    def __init__(self, network: Any, name: str, processor: Any, budget: int = 2**14, dtype: str = "float32") -> None:
        if network.config.model_type not in ADAPTERS:
            raise GenclsError(f"{name}: no adapter for a {type(network).__name__}; known are {', '.join(ADAPTERS)}")
        if budget < 1:
            raise GenclsError(f"budget is {budget}; a forward pass needs at least one token")
        self.network, self.name, self.budget = network.eval().requires_grad_(False), name, budget
        self.dtype = choose(dtype, network.device.type, name)
        self.adapter: Any = ADAPTERS[network.config.model_type][1](network, processor)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens; token i of a record stands in row i // columns."""
        return self.adapter.grid

    @property
    def preprocessing(self) -> str:
        """What is done to an image, in words."""
        own = self.adapter.processor.image_processor
        scaled = f"(value × {own.rescale_factor:.4g} - {list(own.image_mean)}) / {list(own.image_std)}"
        return f"central square, bicubic to {self.adapter.size}, {scaled}, VQ codes {self.grid[0]}×{self.grid[1]}"

    def encode(self, images: Sequence[np.ndarray]) -> Tensor:
        """H×W×3 uint8 images → codes of the model's own VQ encoder, n×T, row by row.

        One image at a time, so that no rounding of a batch can turn a code into its neighbour.
        """
        own, device = self.adapter.processor.image_processor, self.network.device
        codes = []
        with torch.no_grad():
            for image in images:
                square = Image.fromarray(prepare(image, self.adapter.size))
                pixels = torch.as_tensor(own(images=[square], do_resize=False, return_tensors="pt")["pixel_values"])
                codes.append(self.adapter.encode(pixels.to(device, torch.float32)))
        if any(tuple(code.shape) != self.grid for code in codes):
            raise GenclsError(
                f"{self.name}: its image processor's {self.adapter.size} pixels make {tuple(codes[0].shape)} tokens, but the model "
                f"generates {self.grid}; see preprocessor_config.json and config.json"
            )
        return torch.stack(codes).flatten(1).long()

    def read(self, prompts: Sequence[str]) -> list[Prompts]:
        """The prompts, run through the decoder once; those with equally many tokens together, so that nothing is padded."""
        ids = [self.adapter.prompt(prompt) for prompt in prompts]
        told_apart(prompts, ((i,) for i in ids), self.name)
        found = []
        for length in sorted({len(i) for i in ids}):
            classes = tuple(k for k, i in enumerate(ids) if len(i) == length)
            words = torch.stack([ids[k] for k in classes]).to(self.network.device)
            states, cache = self._decode(self.network.get_input_embeddings()(words), None)
            found.append(Prompts(classes, cache, states[:, -1]))
        return found

    def log_likelihoods(self, codes: Tensor, prompts: Sequence[Prompts]) -> np.ndarray:
        """log p(code | codes before it, prompt): stimulus × class × token, float32.

        codes: n×T, of `encode`. prompts: of `read`. Natural logarithm; ends of lines and the like, which generation forces, are
        certain and not among the tokens. Raises GenclsError where the model answers with NaN or infinity.
        """
        n, tokens = codes.shape
        out = np.empty((n, sum(len(group.classes) for group in prompts), tokens), np.float32)
        for group in prompts:
            fed = group.cache.get_seq_length() + int(self.adapter.codes[-1]) + 1
            pairs = torch.cartesian_prod(torch.arange(n), torch.arange(len(group.classes)))

            def some(rows: slice, pairs: Tensor = pairs, group: Prompts = group) -> Tensor:
                stimulus, row = pairs[rows].T
                return self._rows(codes[stimulus.to(codes.device)], group, row).cpu()

            at_once = max(1, self.budget // fed)
            done, fitting = in_passes(some, len(pairs), at_once, self.name)
            if fitting < at_once:
                self.budget = fitting * fed
            out[:, group.classes] = torch.cat(done).view(n, len(group.classes), tokens).numpy()
        if not np.isfinite(out).all():
            raise GenclsError(f"{self.name} answers with NaN or infinity; its weights or its number type are broken")
        return out

    def _rows(self, codes: Tensor, group: Prompts, row: Tensor) -> Tensor:
        """n×T log-likelihoods of n rows of codes, each after one prompt of the group."""
        row = row.to(codes.device)
        cache = copy.deepcopy(group.cache)  # the decoder writes into it
        cache.batch_select_indices(row)
        with torch.no_grad():
            fed = self.adapter.embed(codes)[:, :-1]  # what follows the last token is not asked for
            after, _ = self._decode(fed, cache)
            states = torch.cat([group.last[row][:, None], after], 1)[:, self.adapter.codes.to(codes.device)]
            parts = zip(states.flatten(0, 1).split(_POSITIONS), codes.view(-1, 1).split(_POSITIONS), strict=True)
            return torch.cat([self._taken(*part) for part in parts]).view_as(codes)

    def _taken(self, states: Tensor, codes: Tensor) -> Tensor:
        """States n×width and codes n×1 → log p of each code, n×1."""
        with self._rounded():
            logits = self.adapter.logits(states)
        return log_softmax(logits.float(), -1).gather(-1, codes)

    def _decode(self, embeddings: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """n×S×width embeddings after what the cache holds → the decoder's last states n×S×width, and the cache."""
        with torch.no_grad(), self._rounded():
            out = self.adapter.decoder(inputs_embeds=embeddings, past_key_values=cache, use_cache=True)
        return out.last_hidden_state, out.past_key_values

    def _rounded(self) -> torch.autocast:
        return torch.autocast(self.network.device.type, getattr(torch, self.dtype), enabled=self.dtype != "float32")


def load_autoregressive(
    folder: Path, name: str, allow_pickles: bool = False, dtype: str = "float32"
) -> AutoregressiveModel:
    """An ordinary transformers folder of Janus or Emu3."""
    import transformers

    config = opened(lambda: transformers.AutoConfig.from_pretrained(folder, local_files_only=True), folder, name)
    network = open_network(getattr(transformers, ADAPTERS[config.model_type][0]), folder, name, allow_pickles)
    processor = opened(lambda: transformers.AutoProcessor.from_pretrained(folder, local_files_only=True), folder, name)
    if config.model_type == "janus" and not processor.chat_template:
        raise GenclsError(
            f"{name}: {folder} has no chat template, without which Janus cannot be prompted; add chat_template.jinja"
        )
    return AutoregressiveModel(network, name, processor, dtype=dtype)
