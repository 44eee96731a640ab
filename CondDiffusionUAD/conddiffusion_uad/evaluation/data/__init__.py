"""The scans that a bundle is judged on: where they lie, what is wrong with them, and on which grid they are judged."""
