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


def vocabulary_of(tokenizer: Any) -> int:
    """Ids below it may have a text; logits above, which pad an embedding, are never drawn. Ids may have gaps."""
    return 1 + max(tokenizer.get_vocab().values())


def fitted(model: Any, tokenizer: Any) -> int:
    """``vocabulary_of``. Raises ValueError where the model does not know all of it."""
    size, rows = vocabulary_of(tokenizer), model.get_output_embeddings().weight.shape[0]
    if size > rows:
        has = f"its tokenizer has ids up to {size - 1} and it knows {rows}"
        raise ValueError(f"{has}; load the tokenizer it was made with")
    return size


def fill_of(model: Any, tokenizer: Any) -> int:
    """What stands behind a mask: the tokenizer's padding, or an end token where it has none."""
    return ends_of(model, tokenizer)[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id
