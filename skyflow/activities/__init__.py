"""The thin layer between workflows and the world: one activity per unit of work, no decisions."""
