"""hello.py - label a cloud from Python."""

import sys

import numpy as np

import openvocab3d as ov3d


def make_points():
    """Floor and two walls of a room corner, 4 m wide, in metres with z up; replace it by your own points."""
    i = np.arange(6000)
    points = np.zeros((len(i), 3), np.float32)
    points[i, i % 3] = i * 37 % 1024 / 256
    points[i, (i + 1) % 3] = i * 101 % 1021 / 256
    return points


def main(model_path, vocabulary_path):
    with ov3d.Model(model_path) as model, ov3d.Vocabulary(vocabulary_path) as vocabulary:
        with ov3d.Session(model) as session:
            session.set_vocabulary(vocabulary)
            labels = session.segment(make_points()).labels
        for label, name in enumerate(vocabulary.names):
            print(f"{name}: {np.count_nonzero(labels == label)} points")
        # A number that is equal where all labels are.
        print("checksum", np.dot(np.arange(1, len(labels) + 1), labels.astype(np.int64) + 2))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: hello.py MODEL VOCABULARY")
    try:
        main(*sys.argv[1:])
    except ov3d.Error as error:
        sys.exit(f"hello.py: {error}")
