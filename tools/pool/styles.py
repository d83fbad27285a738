"""Kinds of music for tools.pool.backing: progressions, drum patterns, who plays what.

A style is a few parts; a part is a pattern, the General MIDI programs that may play
it, its level and its place.
"""

from __future__ import annotations

from dataclasses import dataclass

VOICE_PROGRAMS = {52, 53, 54, 85, 91}  # choir, "ooh", synth voice, voice leads
# Degrees of the scale, four or eight bars of them.
PROGRESSIONS = (
    (0, 4, 5, 3), (5, 3, 0, 4), (0, 5, 3, 4), (0, 3, 4, 3), (1, 4, 0, 5),
    (0, 2, 3, 4), (5, 4, 3, 4), (0, 0, 3, 3, 0, 4, 3, 0), (1, 4, 0, 3, 6, 2, 5, 5),
    (0, 4, 5, 2, 3, 0, 3, 4), (5, 5, 3, 3, 0, 0, 4, 4), (0, 6, 3, 0),
)  # fmt: skip
MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
KICK, SNARE, RIM, CLAP, HAT, OPEN, RIDE, CRASH, TOM = 36, 38, 37, 39, 42, 46, 51, 49, 45
# Sixteenths of a bar: x loud, o soft.
DRUMS = {
    "rock": {KICK: "x.....x.x..o....", SNARE: "....x.......x...",
             HAT: "x.o.x.o.x.o.x.o."},
    "ballad": {KICK: "x.........o.....", RIM: "....o.......x...",
               HAT: "x.o.o.o.x.o.o.o."},
    "funk": {KICK: "x..x....o.x..o..", SNARE: "....x..o.o..x..o",
             HAT: "xoxoxoxoxoxoxoxo", OPEN: "..........o....."},
    "swing": {RIDE: "x...x.ox...x.ox.", KICK: "o...o...o...o...",
              HAT: "....x.......x...", SNARE: ".......o.......o"},
    "bossa": {KICK: "x.....x.x.....x.", RIM: "x..x..x...x..x..",
              HAT: "xoxoxoxoxoxoxoxo"},
    "four": {KICK: "x...x...x...x...", CLAP: "....x.......x...",
             OPEN: "..x...x...x...x.", HAT: "o.oo.ooo.oo.ooo."},
    "hiphop": {KICK: "x..o..x...x.....", SNARE: "....x.......x..o",
               HAT: "x.x.x.xoo.x.x.xx"},
    "metal": {KICK: "x.x.x.x.x.x.x.x.", SNARE: "....x.......x...",
              CRASH: "x...............", RIDE: "x...x...x...x..."},
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """Who plays which pattern."""

    pattern: str
    programs: tuple[int, ...]
    level: int = 90
    pan: int = 64
    octave: int = 0


@dataclass(frozen=True)
class Style:
    """A kind of music: tempo, feel, drums, parts."""

    tempo: tuple[int, int]
    parts: tuple[Part, ...]
    drums: tuple[str, ...] = ()
    kit: tuple[int, ...] = (0,)
    sevenths: float = 0.2
    swing: float = 0.0


PIANOS, BASSES, STRINGS = (0, 1, 2, 0), (33, 34, 33, 36), (48, 49, 48)
STYLES = {
    "piano-solo": Style(
        (60, 110),
        (Part("arpeggio", (0, 1), 100), Part("lead", (0,), 100, 64, 1)),
        sevenths=0.3,
    ),
    "piano-ballad": Style(
        (60, 90),
        (Part("comp", PIANOS, 100), Part("bass", BASSES), Part("pad", STRINGS, 60, 50)),
        ("ballad",),
        sevenths=0.3,
    ),
    "jazz-trio": Style(
        (90, 190),
        (
            Part("stabs", (0, 0, 4, 26), 90, 54),
            Part("walk", (32,), 105),
            Part("lead", (0, 66, 11, 56, 59, 26), 100, 74),
        ),
        ("swing",),
        (32, 40),
        0.95,
        0.33,
    ),
    "bossa": Style(
        (110, 150),
        (
            Part("strum", (24,), 95, 50),
            Part("bass", (32, 33), 95),
            Part("lead", (73, 65, 0, 11), 90, 76),
        ),
        ("bossa",),
        (0, 32),
        0.9,
    ),
    "acoustic": Style(
        (75, 125),
        (
            Part("pick", (24, 25), 105, 45),
            Part("strum", (25, 24), 85, 84),
            Part("lead", (22, 73, 40, 110, 105), 80),
        ),
    ),
    "folk-band": Style(
        (90, 130),
        (
            Part("strum", (25,), 100, 40),
            Part("bass", (32, 33), 95),
            Part("lead", (110, 21, 22, 105, 40), 95, 80),
            Part("pick", (105, 46, 15), 70, 90),
        ),
        ("rock", "ballad"),
    ),
    "rock": Style(
        (95, 150),
        (
            Part("power", (29, 30), 85, 30),
            Part("power", (30, 29), 85, 98),
            Part("bass", (33, 34), 105),
            Part("lead", (29, 30, 27, 18), 85, 64, 1),
        ),
        ("rock",),
        (0, 8, 16),
    ),
    "metal": Style(
        (120, 180),
        (
            Part("power", (30,), 95, 20),
            Part("power", (30,), 95, 108),
            Part("bass", (34,), 105),
            Part("lead", (30, 29), 80),
        ),
        ("metal",),
        (16,),
    ),
    "funk": Style(
        (90, 118),
        (
            Part("stabs", (7, 4, 28, 16), 90, 40),
            Part("slap", (36, 37, 33), 110),
            Part("stabs", (61, 62, 28), 75, 90),
            Part("lead", (66, 56, 27), 85),
        ),
        ("funk",),
        (0, 8),
        0.8,
    ),
    "strings": Style(
        (55, 110),
        (
            Part("pad", (48,), 90, 50),
            Part("pad", (49, 44), 70, 80, 1),
            Part("lead", (40, 41, 42, 71, 68, 60), 100),
            Part("arpeggio", (46, 45, 0), 70, 90),
        ),
        sevenths=0.3,
    ),
    "orchestra": Style(
        (70, 140),
        (
            Part("pad", (48, 61), 85),
            Part("stabs", (61, 60, 57), 70, 84),
            Part("bass", (43, 58), 90),
            Part("lead", (56, 68, 73, 71, 40), 95),
        ),
        ("", "rock"),
        (48,),
    ),
    "house": Style(
        (118, 132),
        (
            Part("stabs", (1, 81, 90, 16), 80, 50),
            Part("offbeat", (38, 39), 105),
            Part("pad", (89, 50, 95), 65),
            Part("arpeggio", (81, 80, 84), 65, 84),
        ),
        ("four",),
        (24, 25),
        0.4,
    ),
    "synth-pop": Style(
        (95, 128),
        (
            Part("arpeggio", (81, 88, 80), 75, 40),
            Part("offbeat", (38, 39, 87), 105),
            Part("pad", (90, 50, 51), 75),
            Part("lead", (80, 81, 82), 85, 70),
        ),
        ("rock", "four"),
        (24, 25),
    ),
    "hip-hop": Style(
        (72, 98),
        (
            Part("stabs", (4, 5, 0, 11), 85),
            Part("bass", (38, 39, 33), 115, 64, -1),
            Part("pad", (48, 89, 92), 60),
            Part("lead", (11, 73, 75, 107), 65, 84),
        ),
        ("hiphop",),
        (25, 0),
        0.6,
    ),
    "ambient": Style(
        (60, 90),
        (
            Part("pad", (88, 89, 92, 94), 90),
            Part("pad", (95, 99, 48), 70, 90),
            Part("arpeggio", (46, 10, 98, 0), 70, 40),
            Part("lead", (73, 79, 77, 96), 75),
        ),
    ),
    "reggae-latin": Style(
        (75, 105),
        (
            Part("skank", (28, 0, 17), 95, 45),
            Part("bass", (33, 35), 115),
            Part("stabs", (16, 61, 56), 70, 84),
            Part("lead", (56, 66, 114, 22), 80),
        ),
        ("bossa", "hiphop"),
        (0,),
    ),
    "pedal-steel": Style(
        (60, 100),
        (
            Part("steel", (26, 27, 25), 105, 58),
            Part("steel", (26, 27), 60, 90, 1),
            Part("bass", (32, 33), 60),
        ),
        sevenths=0.4,
    ),
    "country": Style(
        (75, 130),
        (
            Part("steel", (26, 27), 95, 74),
            Part("strum", (25,), 90, 44),
            Part("bass", (32, 33), 95),
            Part("lead", (110, 22, 105), 75, 84),
        ),
        ("ballad", "rock"),
    ),
    "timpani": Style(
        (60, 130),
        (
            Part("roll", (47,), 115),
            Part("pad", (48, 49, 61), 65, 50),
            Part("lead", (60, 56, 71), 70, 80),
        ),
    ),
    "organ": Style(
        (50, 90),
        (Part("pad", (19, 16, 20), 95), Part("lead", (19, 21), 75, 64, 1)),
        sevenths=0.3,
    ),
}
