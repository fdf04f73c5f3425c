"""Requests under stop rules in the batches of vLLM's two runners; vLLM itself is not imported here.

    V1  rows are places that requests enter, leave and change: removed, then added, then moved
    V2  requests have slots, which others had before; rows are in another order at every step

Pitfalls  A prompt that is read in pieces has a row before it is whole: V1 does not say so, and its readings of a place
are replaced until the place has its token; V2 does. V1's ``removed`` leaves out rows that are taken over.
"""

from collections import OrderedDict
from typing import Any

from torch import Tensor

from forkpoint.decoders import Warp
from forkpoint.engines._requests import Request, put
from forkpoint.engines._rules import PREFIX, Stop, stop_of

PARKED = 256
"""requests that left V1's batch and may come back, as those do that are not scheduled for a step"""


class _Stops:
    """What both interfaces share."""

    def __init__(self, vllm_config: Any) -> None:
        if getattr(vllm_config, "speculative_config", None):
            raise ValueError("forkpoint's stops take one token per step; leave speculative decoding out")

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Raises ValueError for a request that it could not serve."""
        if (stop := stop_of(sampling_params.extra_args)) is None:
            return
        if sampling_params.structured_outputs is not None or sampling_params.thinking_token_budget is not None:
            raise ValueError(f"{PREFIX}stop: it cannot stand beside structured_outputs or thinking_token_budget")
        if sampling_params.temperature == 0 and _entropy(stop) in ("tempered", "filtered"):
            raise ValueError(f"{PREFIX}entropy={_entropy(stop)!r}: at temperature 0 there is none; choose 'raw'")
        allowed = sampling_params.allowed_token_ids
        if allowed is not None and not set(stop.end) <= set(allowed):
            raise ValueError(f"{PREFIX}end={list(stop.end)}: not all of them are in allowed_token_ids")


class V1(_Stops):
    """The V1 interface: rows are places in a batch that requests enter, leave and change."""

    def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:
        super().__init__(vllm_config)
        self._rows: dict[int, tuple[Request, list[int]]] = {}
        self._parked: OrderedDict[int, tuple[Request, list[int]]] = OrderedDict()

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: Any) -> None:
        if batch_update is None:
            return
        for row in batch_update.removed:
            self._park(row)
        for row, params, prompt, written in batch_update.added:
            self._park(row)
            # the list is the request's own, so it tells one that comes back
            known = self._parked.pop(id(written), None)
            if known is not None:
                self._rows[row] = known
            elif (stop := stop_of(params.extra_args)) is not None:
                # its tokens are read when logits are: until then some may be placeholders
                self._rows[row] = Request(stop, _warp(stop, params), tuple(prompt or ())), written
        for one, other, direction in batch_update.moved:
            moved, replaced = self._rows.pop(one, None), self._rows.pop(other, None)
            if moved is not None:
                self._rows[other] = moved
            if replaced is not None and direction.name == "SWAP":
                self._rows[one] = replaced

    def apply(self, logits: Tensor) -> Tensor:
        self._rows = {row: (request.follow(written), written) for row, (request, written) in self._rows.items()}
        return put(logits, {row: request for row, (request, _) in self._rows.items()})

    def _park(self, row: int) -> None:
        if (left := self._rows.pop(row, None)) is not None:
            self._parked[id(left[1])] = left
            if len(self._parked) > PARKED:
                self._parked.popitem(last=False)


class V2(_Stops):
    """The interface of Model Runner V2: requests have slots, and every step says which row is whose."""

    def __init__(self, vllm_config: Any, req_states: Any) -> None:
        super().__init__(vllm_config)
        self._states = req_states
        self._asked: dict[int, tuple[Stop, Warp]] = {}
        self._requests: dict[int, Request] = {}

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        self._requests.pop(req_idx, None)
        self._asked.pop(req_idx, None)
        if (stop := stop_of(sampling_params.extra_args)) is not None:
            self._asked[req_idx] = stop, _warp(stop, sampling_params)
        return stop is not None

    def apply(self, logits: Tensor, ctx: Any) -> Tensor:
        read = zip(ctx.idx_mapping_np.tolist(), ctx.seq_lens_upper_bound_np.tolist(), strict=True)
        # a prompt that is read in pieces has a row before it is whole
        rows = {
            row: (slot, length)
            for row, (slot, length) in enumerate(read)
            if slot in self._asked and length >= int(self._states.prefill_len.np[slot])
        }
        if not rows:
            return logits
        last = ctx.input_ids[list(rows)].tolist()
        for (slot, length), token in zip(rows.values(), last, strict=True):
            self._requests[slot] = self._followed(slot, length, token)
        return put(logits, {row: self._requests[slot] for row, (slot, _) in rows.items()})

    def _followed(self, slot: int, length: int, token: int) -> Request:
        prompt, request = int(self._states.prompt_len.np[slot]), self._requests.get(slot)
        ahead = length - prompt - request.count if request is not None else None
        if request is None or ahead not in (0, 1):
            ids = self._states.all_token_ids.gpu[slot, :length].tolist()
            return Request(*self._asked[slot], tuple(ids[:prompt]), tuple(ids[prompt:]))
        if ahead:
            request.take(token)
        return request


def _entropy(stop: Stop) -> str | None:
    return getattr(stop.rule, "entropy", None)


def _warp(stop: Stop, params: Any) -> Warp:
    """How a request is sampled, where its rule reads that; else the same for all, so that rows are read together."""
    if _entropy(stop) not in ("tempered", "filtered"):
        return Warp()
    return Warp(params.temperature, max(params.top_k, 0), params.top_p, params.min_p)
