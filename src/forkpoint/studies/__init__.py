"""Published claims as something that runs. A file ``NAME.py`` defines ``NAME(scale) -> Finding``."""

from forkpoint.studies._finding import Finding as Finding
from forkpoint.studies._finding import Interval as Interval
from forkpoint.studies._finding import Spread as Spread
