"""Problems and scores. A file ``NAME.py`` defines ``NAME(**settings) -> Task``."""

from forkpoint.tasks._task import Problem as Problem
from forkpoint.tasks._task import Split as Split
from forkpoint.tasks._task import Task as Task
from forkpoint.tasks._task import Thinking as Thinking
from forkpoint.tasks._task import first_problems as first_problems
from forkpoint.tasks._task import said as said
from forkpoint.tasks._task import task_of as task_of
from forkpoint.verify import Verdict as Verdict
