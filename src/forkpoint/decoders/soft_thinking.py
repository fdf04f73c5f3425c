"""Soft Thinking: think in mixtures of token embeddings, answer in tokens; Cold Stop ends thinking (arXiv:2505.15778).

    p      = softmax(z / T)
    H      = -sum p ln p                        all ids, after temperature, before any filter
    q      = p after top-k, top-p, min-p, then its max_topk largest, renormalized
    input  = sum_k q_k E[k],                    while thinking; recorded is argmax q
    count  = count + 1 if H < threshold else 0; at ``patience`` thinking ends with its marker
    answer = ordinary sampling at the same settings

Settings of the paper's README  T .6, top-p .95, top-k 30, 10 kept (5 to 20), Cold Stop at .01 nats 256 times. The paper
picks the best combination per benchmark.
Differs from the authors' code: mixture weights are float32, not bfloat16; steps are counted while thinking only, where
the code at its last commit counts on in the answer; a marker may be several tokens.
Pitfalls  Recorded text is not what the model read. With one kept token it is greedy decoding, and later work finds that
it comes close to that with more (arXiv:2508.03440). A patience of 256 never ends a thought of fifty tokens.
"""

from dataclasses import dataclass

import torch

from forkpoint.decoders._decoder import Decoder, decoder
from forkpoint.decoders._machine import Action, Look, Mixture, State, one_hot_unless, single
from forkpoint.decoders._next import Entropy, Warp
from forkpoint.decoders._policy import Policy
from forkpoint.decoders._stops import ColdStop
from forkpoint.decoders._words import Answer, answered, ends, heaviest


@decoder
def soft_thinking(
    *,
    max_topk: int = 10,
    temperature: float = 0.6,
    top_k: int = 30,
    top_p: float = 0.95,
    min_p: float = 0.0,
    threshold: float = 0.01,
    patience: int = 256,
    answer: Answer = "sample",
    entropy: Entropy = "tempered",
) -> Decoder:
    """One completion. max_topk >= 1; Cold Stop is off where threshold is 0; ``entropy`` is what it reads."""
    warp = Warp(temperature, top_k, top_p, min_p)
    return single(SoftThinking(warp, max_topk, ColdStop(threshold, patience), answer, entropy), thinks=True)


@dataclass(frozen=True)
class SoftThinking:
    warp: Warp
    max_topk: int
    cold: ColdStop
    answer: Answer
    reads: Entropy

    def __post_init__(self) -> None:
        if self.max_topk < 1:
            raise ValueError(f"max_topk={self.max_topk}: keep at least one token; one is greedy decoding")

    def init(self, num: int, policy: Policy) -> State:
        return {"cold": torch.zeros(num, dtype=torch.long, device=policy.model.device)}

    def step(self, state: State, look: Look) -> tuple[State, Action]:
        soft = look.thinking & look.free
        ids, weights = self.mixture(look)
        token = torch.where(soft, ids[:, 0], answered(look, self.answer))
        cold = self.cold.count(state["cold"], look.next.entropy(self.reads), soft)
        # the end of thinking is read as itself, and so is what follows
        mixture = one_hot_unless(soft & ~look.ends_thinking(token), token, ids, weights)
        return {"cold": cold}, Action(token, mixture, ends(look, soft & self.cold.over(cold)))

    def mixture(self, look: Look) -> Mixture:
        """The next input's ids and weights, the heaviest first."""
        return heaviest(look.next.filtered, self.max_topk)
