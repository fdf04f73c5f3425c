"""What a policy's ids mean, which drawing, scoring and decoding must agree on."""

from typing import Any

from forkpoint.policies import bare


def ends_of(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Ids after which a completion is complete: all of the generation config's, and the tokenizer's.

    Raises ValueError where there is none.
    """
    stated = getattr(bare(model).generation_config, "eos_token_id", None)
    ends = {stated} if isinstance(stated, int) else set(stated or ())
    ends |= {tokenizer.eos_token_id} - {None}
    if not ends:
        raise ValueError("neither its config nor its tokenizer names an end token, so no completion would end")
    return tuple(sorted(ends))


def fill_of(model: Any, tokenizer: Any) -> int:
    """What stands behind a mask: the tokenizer's padding, or an end token where it has none."""
    return ends_of(model, tokenizer)[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id
