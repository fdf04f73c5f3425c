"""A method's controllers around a TRL run: readings of every optimizer step in, settings of the next one out."""

from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from forkpoint.batch import StepBatch
from forkpoint.controllers import Loop
from forkpoint.methods import Method
from forkpoint.metrics import measure
from forkpoint.record.documents import read_document, write_document
from forkpoint.roles import masks
from forkpoint.trainers._readings import Readings, gathered, merge

FILE = "forkpoint_control.json"
"""in each checkpoint of a method with controllers"""


class Control(TrainerCallback):
    """Holds the method as it is to be in this step. A method without controllers stays as it was built."""

    def __init__(self, trainer: Any, method: Method) -> None:
        self.trainer, self.built = trainer, method
        self.loop = Loop(method.controllers)
        self.readings: Readings = {}

    @cached_property
    def method(self) -> Method:
        """The method with today's knobs."""
        return self.built.with_knobs(**self.loop.knobs)

    def see(self, step: StepBatch) -> None:
        """Measure one micro-batch of the step."""
        if wanted := self.loop.reads:
            merge(self.readings, measure(step, roles=masks(step), only=wanted))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.loop.controllers:
            return
        turned = [knob for controller in self.loop.controllers for knob in controller.knobs]
        for knob in turned:
            self.trainer._metrics["train"][f"control/{knob}"].append(float(self.method.settings[knob]))
        readings = gathered(self.trainer.accelerator, self.readings)
        values = {key: float(reading.value) for key, reading in readings.items()}
        self.loop.take(values | {"step": float(state.global_step)})
        self.readings = {}
        self.__dict__.pop("method", None)

    def save(self, folder: Path) -> None:
        """Leave the state in a checkpoint's folder."""
        if self.loop.controllers:
            write_document(folder / FILE, self.loop.state())

    def load(self, folder: Path) -> None:
        """Undo ``save``. A checkpoint of a method without controllers has no state to put back."""
        if self.loop.controllers and (folder / FILE).exists():
            self.loop.restore(read_document(folder / FILE))
            self.__dict__.pop("method", None)
