"""Random models of three families and a tokenizer of words, for what must hold of any causal LM."""

from functools import cache

import torch
from transformers import AutoModelForCausalLM as Auto
from transformers import GPT2Config, LlamaConfig, PreTrainedTokenizerFast, Qwen3Config

WORDS = ("<pad>", "<eos>", "<unk>", "think", "done", "now", "wait", "more", *map(str, range(20)))
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
CONFIGS = {
    "llama": lambda rows: LlamaConfig(**SHAPE, intermediate_size=64, vocab_size=rows, tie_word_embeddings=False),
    "llama-tied": lambda rows: LlamaConfig(**SHAPE, intermediate_size=64, vocab_size=rows, tie_word_embeddings=True),
    "qwen3": lambda rows: Qwen3Config(**SHAPE, head_dim=8, intermediate_size=64, vocab_size=rows),
    "gpt2": lambda rows: GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=512, vocab_size=rows),
}


@cache
def small_tokenizer():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )


ROWS = len(WORDS)


@cache
def small_model(name, rows=ROWS, dtype=torch.float32):
    """Its weights are wide enough for its entropies to differ from token to token."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Auto.from_config(CONFIGS[name](rows))
        for weight in model.parameters():
            weight.data.mul_(4.0 if weight.dim() > 1 else 1.0)
    model.generation_config.eos_token_id = 1
    return model.to(dtype).eval()
