"""From what a step showed to what the next step does: feedback on entropy, in plain numbers.

A file ``NAME.py`` defines ``NAME(knobs..., **settings) -> Controller``. A controller sees readings (columns of the
record, merged over all micro-batches and ranks) and turns knobs, which are settings of a method. Its state is JSON, so
that a resumed run goes on bit for bit. Needs no torch.
"""

from forkpoint.controllers._controller import Controller as Controller
from forkpoint.controllers._controller import Knobs as Knobs
from forkpoint.controllers._controller import Loop as Loop
from forkpoint.controllers._controller import Reading as Reading
from forkpoint.controllers._controller import State as State
