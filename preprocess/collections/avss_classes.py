"""The classes of AVSS in the order of their numbers and colours."""

from __future__ import annotations

BACKGROUND = "background"

_NAMES = """
accordion airplane axe baby bassoon bell bird boat boy bus car cat cello clarinet clipper clock dog donkey
drum duck elephant emergency-car erhu flute frying-food girl goose guitar gun guzheng hair-dryer handpan
harmonica harp helicopter hen horse keyboard leopard lion man marimba missile-rocket motorcycle mower parrot
piano pig pipa saw saxophone sheep sitar sorna squirrel tabla tank tiger tractor train trombone truck
trumpet tuba ukulele utv vacuum-cleaner violin wolf woman
"""
CLASSES = (BACKGROUND, *_NAMES.split())
"""The 71 published classes."""
