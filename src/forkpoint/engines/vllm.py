"""Stop rules in vLLM by its logits processors, and its tokens for what branches by prompting again.

    LLM(model, logits_processors=["forkpoint.engines.vllm:StopsV2"])     Model Runner V2, the default where it can run
    LLM(model, logits_processors=["forkpoint.engines.vllm:StopsV1"])     the V1 runner, VLLM_USE_V2_MODEL_RUNNER=0
    SamplingParams(extra_args=stop_args("entropy_stop", tokenizer, threshold=0.4))

A rule reads the logits before temperature; V2 has applied bias, penalties and bad words by then, V1 bias and bad words.
It ends thinking by leaving its marker's ids, one per step, as the only ones possible. Refused in one line: speculative
decoding, structured outputs or vLLM's own thinking budget beside a rule, entropies after temperature where it is 0.

Signatures of vLLM 0.33.0, whose docs call them unstable; tests hold these classes against them. Not run on a GPU.
Pitfalls  Counts start anew where V2 resumes a preempted request, as past logits are gone; V1 keeps them unless it has
taken tokens back. Numbers reach the host once per step. No soft thinking: vLLM takes embeddings in prompts alone.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from forkpoint.decoders import ENGINE_TOP, markers_of
from forkpoint.engines._rules import PREFIX, stop_of
from forkpoint.engines._vllm_batches import V1, V2
from forkpoint.engines.reprompt import Generate, Prompt, Written
from forkpoint.tasks import Thinking

INTERFACES = {
    "StopsV1": "vllm.v1.sample.logits_processor.interface",
    "StopsV2": "vllm.v1.worker.gpu.sample.logits_processor.interface",
}


def stop_args(rule: str, tokenizer: Any, thinking: Thinking | None = None, **settings: Any) -> dict[str, Any]:
    """``SamplingParams.extra_args`` of a rule with its settings, and a server's ``vllm_xargs``. ValueError in one line.

    Markers are ``<think>`` and its end, or those of ``thinking``; ``begin=()`` where a prompt has begun the thinking.
    deep_confidence ends with the tokenizer's end token.
    """
    if rule == "deep_confidence":
        ids: dict[str, Any] = {"end": [tokenizer.eos_token_id]}
    else:
        markers = markers_of(tokenizer, thinking) if thinking else markers_of(tokenizer)
        ids = {"end": list(markers.end), "begin": list(markers.begin)}
    given = {f"{PREFIX}{key}": value for key, value in {"stop": rule, **ids, **settings}.items()}
    stop_of(given)
    return given


def __getattr__(name: str) -> type:
    """``StopsV1`` and ``StopsV2``: ``V1`` and ``V2`` as subclasses of vLLM's own, which is imported here."""
    if name not in INTERFACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    ours = {"StopsV1": V1, "StopsV2": V2}[name]
    try:
        theirs = import_module(INTERFACES[name]).LogitsProcessor
    except (ImportError, AttributeError) as error:
        raise ImportError(f"{name} needs vLLM with {INTERFACES[name]}, as 0.33 has it: {error}") from error
    made = globals()[name] = type(name, (ours, theirs), {"__module__": __name__, "__doc__": ours.__doc__})
    return made


def generate_with(llm: Any) -> Generate:
    """A ``vllm.LLM`` as what ``branch_by_reprompt`` takes. Refuses one that returns other than raw log-probs of 20."""
    from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

    mode, most = llm.model_config.logprobs_mode, llm.model_config.max_logprobs
    if mode != "raw_logprobs" or 0 <= most < ENGINE_TOP:
        needs = f"logprobs_mode='raw_logprobs' and max_logprobs of {ENGINE_TOP} or more"
        raise ValueError(f"this engine has logprobs_mode={mode!r} and max_logprobs={most}; start it with {needs}")

    def generate(prompts: Sequence[Prompt]) -> list[list[Written]]:
        asked = [SamplingParams(**sampling(prompt)) for prompt in prompts]
        found = llm.generate([{"prompt_token_ids": list(p.ids)} for p in prompts], asked, use_tqdm=False)
        return [[written(out.token_ids, out.logprobs) for out in one.outputs] for one in found]

    return generate


def sampling(prompt: Prompt) -> dict[str, Any]:
    """The ``SamplingParams`` of a prompt."""
    warp = prompt.warp
    drawn = {"temperature": warp.temperature, "top_k": warp.top_k, "top_p": warp.top_p, "min_p": warp.min_p}
    bounds = {"n": prompt.num, "max_tokens": prompt.limit, "stop_token_ids": list(prompt.ends)}
    return {**drawn, **bounds, "seed": prompt.seed, "logprobs": ENGINE_TOP, "detokenize": False}


def written(ids: Sequence[int], logprobs: Sequence[Mapping[int, Any]]) -> Written:
    """A completion's tokens: of each its log-prob and the 20 largest, the drawn one only where it is among them."""
    own = tuple(place[token].logprob for token, place in zip(ids, logprobs, strict=True))
    top = (sorted((each.logprob for each in place.values()), reverse=True)[:ENGINE_TOP] for place in logprobs)
    return Written(tuple(ids), own, tuple(map(tuple, top)))
