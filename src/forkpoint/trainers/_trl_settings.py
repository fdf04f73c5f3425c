"""What a trainer's class and settings say: which a method cannot work with, and what a stock run is made of."""

from dataclasses import fields
from typing import Any

from forkpoint.credit import does_to_advantage
from forkpoint.trainers._trl_host import AVERAGES, REDUCTIONS, HostError


def check_class(trainer_class: Any) -> None:
    """Refuse what cannot be managed: no class of GRPO's, or one whose own loss would be lost."""
    import trl

    if not (isinstance(trainer_class, type) and issubclass(trainer_class, trl.GRPOTrainer)):
        name = trainer_class.__name__ if isinstance(trainer_class, type) else type(trainer_class).__name__
        raise HostError(
            f"manage: {name} is no class of GRPOTrainer, whose loss a method takes the place of; give GRPOTrainer or "
            "a subclass (watch takes trainers of other kinds)"
        )
    for name in ("compute_loss", "_compute_loss"):
        owner = next((one for one in trainer_class.__mro__ if name in vars(one)), trl.GRPOTrainer)
        if (method := getattr(owner, "forkpoint_method", None)) is not None:
            raise HostError(
                f"manage: {owner.__name__} is managed already, by {method.name}; "
                "join methods by +, such as hicra+kl_cov"
            )
        if owner not in trl.GRPOTrainer.__mro__:
            raise HostError(
                f"manage: {owner.__name__} has a {name} of its own, which the method's loss would replace unseen; "
                "drop it, or write it as a method of forkpoint's"
            )


def is_off_policy(args: Any) -> bool:
    """Whether a rollout has more than one update, so that ratios can differ from one.

    With vLLM too: TRL takes the old log-probs from its own model, and weighs by the engine's apart from the ratio.
    """
    return args.gradient_accumulation_steps % (args.steps_per_generation * args.num_iterations) != 0


def _asked_in_vain(method: Any) -> str:
    return f"{method.name}: a part of it does" if "+" in method.name else f"{method.name} does"


def check_settings(args: Any, method: Any) -> None:
    """Refuse a method that would do nothing here, or whose settings contradict the trainer's."""
    if method.needs_off_policy and not is_off_policy(args):
        raise HostError(
            f"{_asked_in_vain(method)} nothing when every ratio is 1, and this run makes one update per rollout: "
            "set num_iterations=2 (forkpoint train --updates-per-rollout 2), or steps_per_generation above "
            "gradient_accumulation_steps"
        )
    if args.num_generations < method.least_group:
        raise HostError(
            f"{method.name} teaches nothing of {args.num_generations} completions per prompt, whose advantages are all "
            f"0: set num_generations (forkpoint train --samples-per-prompt) to {method.least_group} or more, or lower k"
        )
    if args.loss_type not in REDUCTIONS:
        raise HostError(
            f"loss_type={args.loss_type!r} is a loss of its own and {method.name} is another; choose one: "
            f"drop method={method.name!r}, or set loss_type to one of {', '.join(REDUCTIONS)}"
        )
    averaged = AVERAGES.get(method.reduction or "", args.loss_type)
    if args.loss_type not in (averaged, _default(args, "loss_type")):
        raise HostError(
            f"loss_type={args.loss_type} averages token losses in another way than {method.name}, which takes the "
            f"{method.reduction.replace('_', ' ')}; leave loss_type at its default or set it to {averaged}"
        )
    ours = {name: value for name, value in _bounds(method).items() if name in method.sets}
    for name, value in {**_ONLY_STOCK, **ours}.items():
        theirs = getattr(args, name, None)
        if theirs not in (_default(args, name), value):
            meant = f"sets {name}={value}" if value is not None else f"has no use for {name}"
            raise HostError(
                f"{name}={theirs} is set in the trainer's config, and {method.name} {meant}; set it in one place"
            )


def without_effect(args: Any, method: Any) -> list[str]:
    """A line for each setting of the trainer's that shapes its own advantage, under a method that makes another."""
    if "taken" not in map(does_to_advantage, method.credit):
        return []
    set_here = {"multi_objective_aggregation": "normalize_then_sum", "scale_rewards": "batch"}
    return [
        f"{name}={value} has no effect: {method.name} makes its advantage from the weighted sum of the rewards"
        for name, value in set_here.items()
        if getattr(args, name, None) == value
    ]


_SHAPES_RATIO: dict[str, Any] = {
    "importance_sampling_level": "token",
    "delta": None,
    "off_policy_mask_threshold": None,
}
"""features of the stock loss that change what a ratio counts, with the value that leaves them off"""
_ONLY_STOCK: dict[str, Any] = _SHAPES_RATIO | {
    "top_entropy_quantile": 1.0,
    "entropy_coef": 0.0,
    "use_adaptive_entropy": False,
}
"""features of the stock loss that a managed loss does not carry, with the value that leaves them off"""


def _bounds(method: Any) -> dict[str, Any]:
    return {"epsilon": method.settings.get("clip_low"), "epsilon_high": method.settings.get("clip_high")}


def _default(args: Any, name: str) -> Any:
    return next((f.default for f in fields(args) if f.name == name), None)


def stock_method(args: Any) -> dict[str, Any]:
    """What an unmanaged trainer does, for the record; ``intervenes`` where a setting of its own acts on entropy."""
    neutral = {"beta": 0.0, "entropy_coef": 0.0, "use_adaptive_entropy": False, "top_entropy_quantile": 1.0}
    acting = {name: getattr(args, name) for name, off in neutral.items() if getattr(args, name, off) != off}
    low, high = getattr(args, "epsilon", None), getattr(args, "epsilon_high", None)
    if high not in (None, low):
        acting["epsilon_high"] = high
    kind = {"loss_type": args.loss_type} if hasattr(args, "loss_type") else {}
    if "RLOOConfig" in (one.__name__ for one in type(args).__mro__):
        kind = {"baseline": "rloo"}
    kind |= {name: getattr(args, name) for name, off in _SHAPES_RATIO.items() if getattr(args, name, off) != off}
    return {"name": "trl", "settings": kind | acting, "intervenes": bool(acting)}
