"""A method's controllers around a TRL run: readings of every optimizer step in, settings of the next one out.

    control/KNOB             what the step used
    control/target/READING   what the step's reading is compared with; of a band control/lower and control/upper

Readings are those of the whole step, over all micro-batches and processes, of rows sampled as usual: rows that a method
shifted on purpose are left out. Each process computes them alike, so the knobs agree without being sent.
"""

import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from forkpoint.batch import Definition, StepBatch
from forkpoint.controllers import Loop
from forkpoint.methods import Method
from forkpoint.metrics import measure
from forkpoint.record.documents import read_document, write_document
from forkpoint.roles import masks
from forkpoint.trainers._readings import Readings, gathered, merge
from forkpoint.trainers._trl_host import HostError

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
        if not (wanted := self.loop.reads):
            return
        if step.shifted is not None:
            step = step.rows((~step.shifted).nonzero()[:, 0])
        merge(self.readings, measure(step, roles=masks(step), only=wanted))

    def columns(self, step: int) -> dict[str, float]:
        """What the record shows of this step; to be asked before ``on_step_end`` turns the knobs for the next."""
        knobs = {knob: float(self.method.settings[knob]) for knob in self.loop.turned}
        return {f"control/{name}": value for name, value in (knobs | self.loop.aims(float(step))).items()}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.forkpoint_planner.forget()
        if state.global_step == 0:  # a second training of the same trainer; a resumed one was loaded before
            self.load(None)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Raises HostError where the run measures none of what a controller reads: it would wait for ever."""
        if not self.loop.controllers:
            return
        for name, value in self.columns(state.global_step).items():
            self.trainer._metrics["train"][name].append(value)
        readings = gathered(self.trainer.accelerator, self.readings)
        missing = sorted({*self.loop.reads} - {*readings, "step"})
        if missing:
            raise HostError(f"{self.built.name} is controlled by {missing[0]}, which nothing in this run can measure")
        values = {key: float(reading.value) for key, reading in readings.items()}
        self.loop.take(values | {"step": float(state.global_step)})
        self._begin_step()

    def save(self, folder: Path) -> None:
        """Leave the state in a checkpoint's folder."""
        if self.loop.controllers:
            write_document(folder / FILE, self.loop.state())

    def load(self, folder: Path | None) -> None:
        """Undo ``save``, or begin anew where there is no checkpoint or one without controllers, which warns."""
        self.loop.reset()
        if self.loop.controllers and folder is not None:
            if (folder / FILE).exists():
                self.loop.restore(read_document(folder / FILE))
            else:
                said = f"{folder} holds no state of controllers, so those of {self.built.name} begin anew"
                warnings.warn(said, stacklevel=2)
        self._begin_step()

    def _begin_step(self) -> None:
        # a training of this trainer may have broken off within a step
        self.readings = {}
        self.__dict__.pop("method", None)


def definitions(method: Method) -> dict[str, Definition]:
    """What the columns of a method's controllers mean."""
    loop = Loop(method.controllers)
    if not loop.controllers:
        return {}
    edges = {"target": "set-point", "lower": "lower edge of the band", "upper": "upper edge of the band"}
    told = {name: (f"{what} of the reading that the column names", "the reading's") for name, what in edges.items()}
    told |= {knob: (f"setting {knob} of {method.name}", "the setting's") for knob in loop.turned}
    return {
        f"control/{name}": Definition(f"control/{name}", what, "as used in the step", unit, (), "", "")
        for name, (what, unit) in told.items()
    }
