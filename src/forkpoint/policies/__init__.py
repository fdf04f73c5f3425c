"""Policies: the tiny one that ships, and how to load any other."""

import json
import re
import zlib
from pathlib import Path
from typing import Any

TINY = "tiny"
"""name of the shipped policy, wherever a model is asked for"""
COLUMNS = 1021
"""prime, so that rows of a tensor that change places fall into other columns"""


def folder(model: str) -> str:
    """Where ``model`` loads from: the shipped policy for ``tiny``, else the name as given (a path or a Hub id)."""
    return str(Path(__file__).parent / "tiny") if model == TINY else model


def load(model: str) -> tuple[Any, Any]:
    """(model, tokenizer) by transformers' Auto classes, in float32; never runs code from the model's folder.

    Turns the progress bars of transformers off, which otherwise stand among what a command prints. Raises ValueError
    with one line where the folder is missing or holds no model.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    place = folder(model)
    if what := _no_model(place):
        raise ValueError(f"model {model!r}: {what}; give 'tiny', a folder with config.json, or a Hub id")
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        network = AutoModelForCausalLM.from_pretrained(place, dtype="float32", trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(f"model {model!r}: cannot load ({first}); give 'tiny', a folder, or a Hub id") from error
    return network, tokenizer


def _no_model(place: str) -> str:
    """What is wrong with a folder, told at once where transformers would ask the Hub for it; empty for a Hub id."""
    path = Path(place)
    if path.is_dir():
        # an adapter's folder names the model that it belongs to
        found = any((path / name).is_file() for name in ("config.json", "adapter_config.json"))
        return "" if found else "holds no config.json"
    inside = len(path.parts) > 1 and Path(path.parts[0]).is_dir()
    return "no such folder" if place.startswith(("/", ".", "~")) or place.count("/") > 1 or inside else ""


def short_name(model: str) -> str:
    """What a page calls a model: the last part of its folder or Hub id.

    >>> short_name("runs/a/checkpoints/checkpoint-160/"), short_name("tiny")
    ('checkpoint-160', 'tiny')
    """
    return re.split(r"[\\/]", model.rstrip("\\/"))[-1] or model


def bare(model: Any) -> Any:
    """The model itself, without PEFT's wrapper where it has one."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def on_accelerator(model: Any) -> Any:
    """The model on the first GPU where there is one; where it lies else. Not tested on a GPU yet."""
    import torch

    return model.to("cuda") if torch.cuda.is_available() else model


def fingerprint(model: Any) -> str:
    """crc32 of every parameter's bytes, summed as 64-bit words in ``COLUMNS`` columns.

    Tells one checkpoint from another: every number counts, and only changes that cancel within a column are missed.
    Sums of whole numbers are the same on every device and by any number of threads.
    """
    import torch

    crc = 0
    for parameter in model.parameters():
        flat = parameter.detach().contiguous().flatten().view(torch.uint8)
        # words start at multiples of their size
        flat = flat.clone() if flat.storage_offset() % 8 else flat
        table = flat[: len(flat) // (8 * COLUMNS) * 8 * COLUMNS].view(torch.int64).view(-1, COLUMNS)
        for part in (table.sum(0), flat[table.numel() * 8 :]):
            crc = zlib.crc32(part.cpu().numpy().tobytes(), crc)
    return f"{crc:08x}"


def prompts_by(tokenizer: Any) -> str:
    """crc32 of what makes ids of a prompt: vocabulary, rules, special tokens and chat template."""
    rules = sorted(tokenizer.get_vocab().items())
    if backend := getattr(tokenizer, "backend_tokenizer", None):
        whole = json.loads(backend.to_str())
        # a call sets these two for itself
        rules = [rules, {name: part for name, part in whole.items() if name not in ("padding", "truncation")}]
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    about = [type(tokenizer).__name__, rules, special, getattr(tokenizer, "chat_template", None)]
    return f"{zlib.crc32(json.dumps(about, sort_keys=True).encode()):08x}"
