"""The student server: an OpenAI-compatible endpoint for distilled classifiers, with batching and blue/green versions."""
