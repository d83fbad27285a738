"""Lines to be sung or rapped, made up from a few words; no text of anybody's.

Sense is not asked for: the lines need every English sound, long vowels to hold,
and short quick syllables.
"""

from __future__ import annotations

import numpy as np

NOUNS = (
    "morning,river,fire,shadow,window,thunder,highway,ocean,treasure,feather,"
    "sugar,radio,mirror,valley,engine,winter,summer,cathedral,whisper,stranger,"
    "daughter,brother,heartache,joyride,city,garden,moonlight,measure,choir,jungle"
)
VERBS = (
    "running,falling,singing,burning,waiting,dreaming,shining,breaking,calling,"
    "dancing,rolling,chasing,holding,fading,choosing,growing,losing,rising,flying"
)
PLACES = (
    "through the rain,over the water,under the bridge,down by the shore,in my mind,"
    "out on the street,behind your eyes,beyond the hills,after the show,all night long"
)
OPENINGS = (
    "Oh I was,And you were,We keep on,She never stopped,They told me I was,"
    "Hey now we are,Why are you always,Maybe I should be,Nobody else is,Let me be"
)
TAILS = (
    "la la la,yeah,oh no,so slow,away,one more time,with you,and on and on,tonight,ooh"
)


def line(rng: np.random.Generator) -> str:
    """`Oh I was chasing the moonlight through the rain, yeah.`"""
    opening, verb, noun, place, tail = (
        str(rng.choice(words.split(",")))
        for words in (OPENINGS, VERBS, NOUNS, PLACES, TAILS)
    )
    article = str(rng.choice(["the", "your", "my", "a", "every"]))
    return f"{opening} {verb} {article} {noun} {place}, {tail}."
