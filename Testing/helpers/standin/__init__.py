"""Stands in for Slicer's application in tests: Qt as PythonQt shows it, and what else the module uses of it.

The scene, the nodes and the logics are Slicer's own (slicer-core), and so is `slicer.util`; Qt is PySide6, with its
properties as attributes. What is made here is small and refuses what Slicer refuses: code that passes here shall run
there.
"""
