"""What is measured, by name, in the order of a run. A scene is a function from a `Bench` to figures.

A new scene is one function and one line here. Rules: each stands for itself and cleans up; what it cannot do with a
daemon at an address it says with `Skipped`.
"""

from typing import Final

from host_client.bench.bench import Scene
from host_client.bench.scenes import crowd, footprint, opening, start, stream, switching, turning

SCENES: Final[dict[str, Scene]] = {
    "start": start.start,
    "create": opening.create,
    "resume": opening.resume,
    "switch": switching.warm,
    "turn": turning.turns,
    "stream": stream.streams,
    "crowd": crowd.crowd,
    "memory": footprint.memory,
    "cpu": footprint.cpu,
}
