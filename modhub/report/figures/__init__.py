"""Figures of a report's values: one file a kind of picture, all through `sheet.render`.

Needs matplotlib, which the extra ``plot`` brings; nothing here touches pyplot or its global figures.
"""
