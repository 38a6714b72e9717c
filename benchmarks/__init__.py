"""Each performance claim, measured side by side with what a user would pick instead. One module a claim."""
