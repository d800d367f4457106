"""Records two events as TensorBoard's own writer frames them: tensorboard 2.21.0. Writes data/tensorboard.json."""
import json
import os
import struct
import tempfile
from importlib.metadata import version

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

events = [
    Event(wall_time=1_700_000_000.5, file_version="brain.Event:2"),
    Event(
        wall_time=1_700_000_001.25,
        step=300,
        summary=Summary(
            value=[
                Summary.Value(tag="loss", simple_value=0.6931471805599453),
                Summary.Value(tag="rewards/margins", simple_value=-1.5),
            ]
        ),
    ),
]
frames = []
for event in events:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "events")
        with open(path, "wb") as file:
            RecordWriter(file).write(event.SerializeToString())
            file.flush()
        with open(path, "rb") as file:
            frames.append(file.read().hex())
assert struct.unpack("<Q", bytes.fromhex(frames[0])[:8])[0] == len(events[0].SerializeToString())
target = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "tensorboard.json")
with open(target, "w") as file:
    json.dump({"version": f"tensorboard {version('tensorboard')}", "frames": frames}, file, indent=1)
    file.write("\n")
