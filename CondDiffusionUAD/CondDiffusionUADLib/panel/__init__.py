"""The widgets of the module panel."""
