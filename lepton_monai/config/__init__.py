"""One YAML file a task, validated as a whole."""
