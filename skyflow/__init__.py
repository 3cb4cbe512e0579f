"""skyflow: durable launching of machine-learning tasks."""

__version__ = "0.1.0"
