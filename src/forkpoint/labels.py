"""What a completion token is. Needs no torch, so that tasks, records and pages can say it too."""

from enum import IntEnum


class Label(IntEnum):
    """The role of a token, fixed when the text is labeled and never derived from the live policy.

    A role defined by today's entropy would prove itself; these come from the task or from the text.
    """

    OTHER = 0
    """unknown to the task: malformed text, or text after a false step"""
    FORK = 1
    """two or more different tokens here can still end in a right answer"""
    EXECUTION = 2
    """determined by what precedes: a result, a copy, punctuation"""
    PLANNING = 3
    """whether to go on: another try, or stop"""
    FORMAT = 4
    """settles the notation of the text that follows"""
