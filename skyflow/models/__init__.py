"""What things are. Pure data and pure decisions: no input or output, no clock, importable in a workflow."""
