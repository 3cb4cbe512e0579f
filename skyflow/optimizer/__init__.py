"""The optimizer: from what a task asks for and what there is, to a ranked plan. Pure."""

from skyflow.optimizer.ranking import rank

__all__ = ["rank"]
