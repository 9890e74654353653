"""layer.py - the Python module beyond the example; its structs are printed as C assertions for the header to prove."""

import ctypes
import gc
import os
import sys

import numpy as np

import openvocab3d as ov3d


def raises(kind, function, *words):
    try:
        function()
    except kind as error:
        assert all(word in str(error) for word in words), error
        return error
    raise AssertionError(f"no {kind.__name__}")


def assertions():
    """The module's structs as C statements that fail to compile where they differ from the header's."""
    structs = {"strided_view": ov3d._StridedView, "cloud": ov3d._Cloud, "device_info": ov3d._DeviceInfo,
               "session_desc": ov3d._SessionDesc, "segment_desc": ov3d._SegmentDesc,
               "superpoint_desc": ov3d._SuperpointDesc,
               "vocabulary_desc": ov3d._VocabularyDesc, "text_encoder_desc": ov3d._TextEncoderDesc,
               "text_encoder_info": ov3d._TextEncoderInfo,
               "model_info": ov3d._ModelInfo, "result_view": ov3d._ResultView, "timings": ov3d._Timings}
    lines = ["#include <openvocab3d.h>", f'_Static_assert(OV3D_ABI_VERSION == {ov3d.ABI_VERSION}, "ABI_VERSION");']
    for name, struct in structs.items():
        lines.append(f'_Static_assert(sizeof(ov3d_{name}) == {ctypes.sizeof(struct)}, "size of {name}");')
        for field, _ in struct._fields_:
            offset = getattr(struct, field).offset
            lines.append(f'_Static_assert(offsetof(ov3d_{name}, {field}) == {offset}, "{name}.{field}");')
    constants = [name for name in dir(ov3d) if name.split("_")[0] in ("AXES", "SIMILARITY", "GRID", "OUTPUT", "LABEL",
                                                                           "PRECISION", "OVERFLOW", "VOCABULARY", "SUPERPOINTS",
                                                                           "VOTE")]
    lines += [f'_Static_assert(OV3D_{name} == {getattr(ov3d, name)}, "{name}");' for name in constants]
    return "\n".join(lines)


def main(model_path, vocabulary_path, assertions_path):
    with open(assertions_path, "w") as file:
        print(assertions(), file=file)

    assert raises(ov3d.Error, lambda: ov3d.Model("/nowhere/model"), "/nowhere/model").status == "OV3D_ERROR_IO"
    model, vocabulary = ov3d.Model(model_path), ov3d.Vocabulary(vocabulary_path)
    assert model.info["text_dim"] == 32 and model.info["text_space"] == "custom-32", model.info
    assert len(vocabulary) == 4

    cpu, *others = ov3d.devices()
    assert cpu["kind"] == "cpu" and cpu["usable"] and cpu["name"].startswith("CPU") and cpu["cuda_ordinal"] is None, cpu
    assert others and all(device["kind"] == "cuda" and device["usable"] == (not device["reason"]) for device in others)
    raises(ov3d.Error, lambda: ov3d.Session(model, device=len(others) + 1), "desc.device")

    session = ov3d.Session(model, threads=2)
    model.close()
    session.set_vocabulary(vocabulary)
    steps = np.arange(900)
    points = np.stack([steps % 30 / 16, steps // 30 / 16, steps % 30 / 32], axis=1).astype(np.float32)
    want = session.segment(points).labels
    assert want.dtype == np.int32 and want.shape == (900,) and len(set(want)) > 1, set(want)

    # Layouts: doubles, wide rows, every other point, records, read-only bytes.
    wide = np.full((900, 7), np.nan)
    wide[:, 2:5] = points
    records = np.zeros(900, [("tag", "u1"), ("x", "f4"), ("y", "f4"), ("z", "f4"), ("cos", "f4")])
    records["x"], records["y"], records["z"] = points.T
    bytes_of = np.frombuffer(records.tobytes(), records.dtype)
    for layout in (points.astype(float), wide[:, 2:5], points.repeat(2, axis=0)[::2], records, bytes_of):
        assert np.array_equal(session.segment(layout).labels, want)
    assert ov3d._rows(wide[:, 2:5], "positions").ctypes.data == wide.ctypes.data + 16, "copied"
    assert ov3d._rows(bytes_of, "positions").ctypes.data == bytes_of.ctypes.data + 1, "copied"
    reordered = np.zeros(900, [("x", "f4"), ("z", "f4"), ("y", "f4")])
    for layout in (np.asfortranarray(points), points[::-1], points.astype(np.float16), points[:, :2], reordered):
        raises(ValueError, lambda layout=layout: session.segment(layout), "positions")
    assert len(session.segment(points[:0]).labels) == 0
    mirrored = points * np.float32([1, -1, 1])
    assert np.array_equal(session.segment(mirrored, axes=ov3d.AXES_LEFT_HANDED_Z_UP).labels, want)
    assert np.array_equal(session.segment(points, pose=np.eye(4), colors=np.zeros((900, 3), np.uint8)).labels, want)

    # Options, other words, a pending result whose inputs nobody else keeps.
    outputs = ov3d.OUTPUT_QUERYABLE | ov3d.OUTPUT_LOGITS | ov3d.OUTPUT_TEXT_FEATURES
    result = session.begin(points.copy(), top_k=3, outputs=outputs)
    assert result.top_labels.shape == (900, 3) and np.array_equal(result.top_labels[:, 0], want) and result.ready
    assert result.features.dtype == np.float16 and result.features.shape == (len(result.coordinates), 32)
    assert np.array_equal(result.logits.argmax(axis=1)[result.voxel_of_point], want)
    assert result.timings["total"] > 0
    words = ov3d.Vocabulary.from_embeddings(["first", "last"], np.eye(32)[[0, 31]], "custom-32")
    assert words.names == ["first", "last"] and set(session.query(result, words).labels) <= {0, 1}
    with ov3d.TextEncoder(os.path.join(os.path.dirname(vocabulary_path), "tower"), threads=1) as encoder:
        assert encoder.info["dim"] == 32 and encoder.info["text_space"] == "custom-32", encoder.info
        rows = encoder.encode(["a chair", "été"])
        assert rows.shape == (2, 32) and np.allclose(np.linalg.norm(rows, axis=1), 1)
        plain = ov3d.Vocabulary.from_texts(encoder, ["chair", "floor"], [], other_label=1, other_threshold=1e9)
        named = ov3d.Vocabulary.from_texts(encoder, ["chair", "floor"], ["a {}", "{} in a room"])
        preset = ov3d.Vocabulary.from_preset(encoder, "scannet20")
        raises(ov3d.Error, lambda: ov3d.Vocabulary.from_texts(encoder, ["chair"], ["nothing"]), "nothing")
    assert plain.names == named.names == ["chair", "floor"] and len(preset) == 20
    assert set(session.query(result, plain).labels) == {1}
    some = ov3d.Vocabulary.from_names(preset, ["Sofa", "wall"], other_label=0, other_threshold=1e9)
    assert some.names == ["Sofa", "wall"] and set(session.query(result, some).labels) == {0}
    raises(ov3d.Error, lambda: ov3d.Vocabulary.from_names(preset, ["soffa"]), "soffa", "'sofa'")
    assert len(set(session.query(result, preset).labels)) > 1
    raises(TypeError, lambda: session.segment(points, topk=3), "topk")
    raises(ov3d.Error, lambda: session.segment(points, top_k=9), "top_k")
    raises(ov3d.Error, lambda: ov3d.Session(model), "model")

    # Superpoints alone and with a vote; ids from elsewhere.
    found = ov3d.superpoints(points, method=ov3d.SUPERPOINTS_GRAPH, count=7)
    assert found.labels is None and found.superpoints.shape == (900,) and found.superpoint_centroids.shape == (7, 3)
    assert found.superpoint_sizes.sum() == 900 and found.superpoint_adjacency.shape[1] == 2
    options = {"vote": ov3d.VOTE_SCORES, "vote_weight": ov3d.VOTE_WEIGHT_MARGIN, "outputs": ov3d.OUTPUT_TEXT_FEATURES}
    voted = session.segment(points, superpoints={"method": ov3d.SUPERPOINTS_GRAPH, "count": 7}, **options)
    assert np.array_equal(voted.superpoints, found.superpoints) and voted.superpoint_features.shape == (7, 32)
    assert all(len(set(voted.labels[voted.superpoints == s])) == 1 for s in range(7))
    ids = np.where(steps < 300, -1, steps % 2)
    own = session.segment(points, ids=ids, normals=points + 1, vote=ov3d.VOTE_LABELS)
    assert np.array_equal(own.superpoints, ids) and np.array_equal(own.labels[:300], want[:300])
    assert np.array_equal(session.segment(points, ids=ids.astype(np.int32), vote=1).labels, own.labels)
    assert own.superpoint_adjacency is None or len(own.superpoint_adjacency) == 0
    raises(ValueError, lambda: session.segment(points, ids=ids.astype(float)), "ids")
    raises(ValueError, lambda: ov3d.superpoints(points, colors=np.zeros((3, 3), np.uint8)), "colors")
    raises(ov3d.Error, lambda: ov3d.superpoints(points, voxel_size=-1.0), "voxel_size")

    # Arrays outlive the result, the session and the vocabulary, and cannot be written to.
    kept = result.scores
    copy = kept.copy()
    for handle in (session, vocabulary, words):
        handle.close()
    del result
    gc.collect()
    assert np.array_equal(kept, copy) and not kept.flags.writeable


if __name__ == "__main__":
    main(*sys.argv[1:])
