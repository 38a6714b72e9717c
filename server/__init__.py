"""The student server: an OpenAI-compatible endpoint for distilled classifiers, batched, blue/green."""
