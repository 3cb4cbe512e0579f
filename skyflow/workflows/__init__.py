"""What happens when. Workflow code decides; activities do. Imports models and errors only."""
