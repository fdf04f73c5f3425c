"""A tracker (W&B, TensorBoard, MLflow ...) that fails does not end the training that it reports on."""

import functools
import warnings
from collections.abc import Callable
from typing import Any

EVENTS = ("on_train_begin", "on_log", "on_evaluate", "on_predict", "on_save", "on_train_end", "on_push_begin")


class Trackers:
    """The trackers among a trainer's callbacks, their errors caught and counted."""

    def __init__(self, trainer: Any) -> None:
        from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

        kinds = tuple(INTEGRATION_TO_CALLBACK.values())
        self.failures = 0
        self.found = [callback for callback in trainer.callback_handler.callbacks if isinstance(callback, kinds)]

    def survive(self) -> None:
        """From now on an error of theirs is a warning, once for each tracker, and a number."""
        for callback in self.found:
            told: list[str] = []
            for event in EVENTS:
                if hasattr(callback, event):
                    setattr(callback, event, self._guarded(getattr(callback, event), type(callback).__name__, told))

    def _guarded(self, event: Callable[..., Any], name: str, told: list[str]) -> Callable[..., Any]:
        @functools.wraps(event)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                return event(*args, **kwargs)
            except Exception as error:
                self.failures += 1
                if not told:
                    told.append(name)
                    what = f"{name} failed ({type(error).__name__}: {error})"
                    warnings.warn(f"{what}; training goes on and the record is kept", stacklevel=2)
                return None

        return guarded
