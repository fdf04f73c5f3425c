"""Policies: the tiny one that ships, and how to load any other."""

import re
import zlib
from pathlib import Path
from typing import Any

TINY = "tiny"
"""name of the shipped policy, wherever a model is asked for"""


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
    if place.startswith(("/", ".", "~")) and not Path(place).is_dir():
        raise ValueError(f"model {model!r}: no such folder; give 'tiny', a folder with config.json, or a Hub id")
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        network = AutoModelForCausalLM.from_pretrained(place, dtype="float32", trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(f"model {model!r}: cannot load ({first}); give 'tiny', a folder, or a Hub id") from error
    return network, tokenizer


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
    """crc32 over the first numbers of every parameter: tells one checkpoint from another without reading all of it."""
    crc = 0
    for parameter in model.parameters():
        crc = zlib.crc32(parameter.detach().flatten()[:64].float().cpu().numpy().tobytes(), crc)
    return f"{crc:08x}"
