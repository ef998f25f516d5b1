"""A network trained on synthetic abdominal CT phantoms: a medseg plugin for demonstration and tests."""
