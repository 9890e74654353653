"""openvocab3d.py - libopenvocab3d from Python: ctypes and numpy, nothing to build. Copy this file beside your own.

    with Model("model.safetensors") as model, Vocabulary("vocabulary.safetensors") as vocabulary:
        with Session(model) as session:
            session.set_vocabulary(vocabulary)
            result = session.segment(points)            # [n, 3] float32 or float64, not copied
            print(vocabulary.names[result.labels[0]])

Arrays of a result are read-only views of the library's memory, which lives as long as any of them. Errors are raised
as `Error` with the library's message. openvocab3d.h is the manual: what it says about threads, units and statuses holds
here. The library is looked for at $OPENVOCAB3D_LIBRARY, then where the system's loader looks.
"""

import ctypes
import os
from ctypes import POINTER, c_char, c_char_p, c_double, c_float, c_int32, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p

import numpy as np

ABI_VERSION = 2
DTYPES = {np.dtype(np.float32): 1, np.dtype(np.float64): 2, np.dtype(np.uint8): 3,
          np.dtype(np.int32): 4, np.dtype(np.int64): 5}
AXES_RIGHT_HANDED_Z_UP, AXES_LEFT_HANDED_Z_UP, AXES_RIGHT_HANDED_Y_UP, AXES_LEFT_HANDED_Y_UP, AXES_CAMERA = range(5)
SIMILARITY_DOT, SIMILARITY_COSINE = range(2)
GRID_MINIMUM, GRID_WORLD = range(2)
PRECISION_DEFAULT, PRECISION_F32, PRECISION_BF16, PRECISION_F16 = range(4)
OVERFLOW_REFUSE, OVERFLOW_TRUNCATE = range(2)
VOCABULARY_BARE = 1
OUTPUT_LOGITS, OUTPUT_TRUNK_FEATURES, OUTPUT_TEXT_FEATURES, OUTPUT_QUERYABLE = 1, 2, 4, 8
LABEL_NONE = -1
SUPERPOINTS_VCCS, SUPERPOINTS_VCCS_PCL, SUPERPOINTS_GRAPH = range(3)
VOTE_NONE, VOTE_LABELS, VOTE_SCORES = range(3)
VOTE_WEIGHT_ONE, VOTE_WEIGHT_MARGIN = range(2)


class Error(Exception):
    """A call failed; `status` is the name of its status, such as "OV3D_ERROR_IO"."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


# ------------------------------------------------------------------------------------------ the C interface, as it is


class _StridedView(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("stride_bytes", c_uint64), ("dtype", c_int32), ("components", c_uint32),
                ("reserved", c_uint64 * 2)]


class _Cloud(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("memory", c_int32), ("count", c_uint64), ("positions", _StridedView),
                ("colors", _StridedView), ("unit_in_metres", c_double), ("pose", c_void_p), ("axes", c_int32),
                ("flags", c_uint32), ("normals", _StridedView), ("superpoints", _StridedView)]


class _DeviceInfo(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("kind", c_int32), ("usable", c_int32), ("cuda_ordinal", c_int32),
                ("memory", c_uint64), ("uuid", c_uint8 * 16), ("name", c_char * 128), ("reason", c_char * 256),
                ("capability_major", c_int32), ("capability_minor", c_int32)]


class _SessionDesc(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("device", c_uint32), ("threads", c_uint32), ("flags", c_uint32),
                ("memory_budget", c_uint64), ("precision", c_int32), ("reserved", c_uint32)]


class _SuperpointDesc(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("method", c_int32), ("voxel_size", c_double), ("seed_size", c_double),
                ("stray_reach", c_double), ("spatial_weight", c_float), ("color_weight", c_float),
                ("normal_weight", c_float), ("step_weight", c_float), ("feature_weight", c_float), ("scale", c_float),
                ("count", c_uint32), ("least_voxels", c_uint32), ("rounds", c_uint32), ("refinements", c_uint32),
                ("threads", c_uint32), ("flags", c_uint32)]


class _SegmentDesc(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("outputs", c_uint32), ("similarity", c_int32), ("temperature", c_float),
                ("top_k", c_uint32), ("grid_origin", c_int32), ("representative", c_int32), ("repeats", c_uint32),
                ("seed", c_uint64), ("rotation", c_double * 3), ("scale", c_double * 2), ("voxel_size", c_double),
                ("labels", c_void_p), ("labels_capacity", c_uint64), ("scores", c_void_p),
                ("scores_capacity", c_uint64), ("progress", c_void_p), ("user_data", c_void_p),
                ("superpoints", POINTER(_SuperpointDesc)), ("vote", c_int32), ("vote_weight", c_int32)]


class _VocabularyDesc(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("flags", c_uint32), ("text_space", c_char_p), ("label_of_row", c_void_p),
                ("templates", c_void_p), ("template_count", c_uint64), ("other_label", c_int32),
                ("other_threshold", c_float)]


class _TextEncoderDesc(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("threads", c_uint32), ("precision", c_int32), ("overflow", c_int32),
                ("text_space", c_char_p), ("flags", c_uint32), ("reserved", c_uint32)]


class _TextEncoderInfo(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("dim", c_uint32), ("context", c_uint32), ("reserved", c_uint32),
                ("weight_bytes", c_uint64), ("text_space", c_char_p)]


class _ModelInfo(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("input", c_int32), ("voxel_size", c_double), ("text_dim", c_uint32),
                ("trunk_dim", c_uint32), ("parameters", c_uint64), ("weight_bytes", c_uint64),
                ("text_space", c_char_p), ("prompt_template", c_char_p), ("variant", c_char_p), ("license", c_char_p)]


class _ResultView(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("memory", c_int32), ("points", c_uint64), ("voxels", c_uint64),
                ("label_count", c_uint32), ("top_k", c_uint32), ("feature_dim", c_uint32), ("reserved", c_uint32),
                ("labels", c_void_p), ("scores", c_void_p), ("top_labels", c_void_p), ("top_scores", c_void_p),
                ("voxel_of_point", c_void_p), ("coordinates", c_void_p), ("features", c_void_p), ("logits", c_void_p),
                ("superpoint_count", c_uint64), ("superpoint_pairs", c_uint64), ("superpoints", c_void_p),
                ("superpoint_sizes", c_void_p), ("superpoint_centroids", c_void_p), ("superpoint_adjacency", c_void_p),
                ("superpoint_features", c_void_p)]


class _Timings(ctypes.Structure):
    _fields_ = [("struct_size", c_uint32), ("reserved", c_uint32), ("total", c_double), ("quantise", c_double),
                ("levels", c_double), ("kernel_maps", c_double), ("network", c_double), ("head", c_double),
                ("features", c_double), ("gflop", c_double), ("superpoints", c_double), ("vote", c_double)]


def _load():
    library = ctypes.CDLL(os.environ.get("OPENVOCAB3D_LIBRARY", "libopenvocab3d.so.0.1"))
    library.ov3d_abi_version.restype = c_uint32
    if library.ov3d_abi_version() < ABI_VERSION:
        raise ImportError(f"libopenvocab3d has interface number {library.ov3d_abi_version()}, older than {ABI_VERSION}")
    signatures = {
        c_int32: {
            "device_count": [POINTER(c_uint32)],
            "device_info_get": [c_uint32, POINTER(_DeviceInfo)],
            "model_load": [c_char_p, c_void_p, POINTER(c_void_p)],
            "model_info_get": [c_void_p, POINTER(_ModelInfo)],
            "vocabulary_load": [c_char_p, POINTER(c_void_p)],
            "vocabulary_from_embeddings":
                [c_void_p, c_size_t, c_size_t, POINTER(c_char_p), POINTER(_VocabularyDesc), POINTER(c_void_p)],
            "vocabulary_from_texts":
                [c_void_p, POINTER(c_char_p), c_size_t, POINTER(_VocabularyDesc), POINTER(c_void_p)],
            "vocabulary_from_preset": [c_void_p, c_char_p, POINTER(_VocabularyDesc), POINTER(c_void_p)],
            "vocabulary_from_names":
                [c_void_p, POINTER(c_char_p), c_size_t, POINTER(_VocabularyDesc), POINTER(c_void_p)],
            "vocabulary_save": [c_void_p, c_char_p],
            "text_encoder_load": [c_char_p, POINTER(_TextEncoderDesc), POINTER(c_void_p)],
            "text_encoder_info_get": [c_void_p, POINTER(_TextEncoderInfo)],
            "text_encoder_encode": [c_void_p, POINTER(c_char_p), c_size_t, c_void_p, c_size_t],
            "session_create": [c_void_p, POINTER(_SessionDesc), POINTER(c_void_p)],
            "session_set_vocabulary": [c_void_p, c_void_p],
            "session_query": [c_void_p, c_void_p, c_void_p, POINTER(_SegmentDesc), POINTER(c_void_p)],
            "session_cancel": [c_void_p],
            "segment_begin": [c_void_p, POINTER(_Cloud), POINTER(_SegmentDesc), POINTER(c_void_p)],
            "superpoints": [POINTER(_Cloud), POINTER(_SuperpointDesc), POINTER(c_void_p)],
            "result_wait": [c_void_p, c_uint64],
            "result_ready": [c_void_p],
            "result_get": [c_void_p, POINTER(_ResultView)],
            "result_timings_get": [c_void_p, POINTER(_Timings)],
        },
        c_char_p: {"version": [], "status_name": [c_int32], "vocabulary_name": [c_void_p, c_size_t]},
        c_size_t: {"last_error": [c_char_p, c_size_t], "vocabulary_size": [c_void_p]},
        None: {f"{noun}_free": [c_void_p] for noun in
               ("model", "text_encoder", "vocabulary", "session", "result")}
            | {f"{struct}_init": [c_void_p, c_size_t] for struct in
               ("cloud", "device_info", "session_desc", "segment_desc", "superpoint_desc", "vocabulary_desc", "text_encoder_desc",
                "text_encoder_info", "model_info", "result_view", "timings")},
    }
    for result, functions in signatures.items():
        for name, arguments in functions.items():
            function = getattr(library, "ov3d_" + name)
            function.restype, function.argtypes = result, arguments
    return library


_library = _load()


def _check(status):
    if status != 0:
        message = ctypes.create_string_buffer(_library.ov3d_last_error(None, 0))
        _library.ov3d_last_error(message, len(message))
        raise Error(_library.ov3d_status_name(status).decode(), message.value.decode())


def _made(function, *arguments):
    """The handle that `function` writes to its last argument."""
    handle = c_void_p()
    _check(function(*arguments, ctypes.byref(handle)))
    return handle


def _initialised(struct, init, **fields):
    """A descriptor with the library's defaults and `fields` on top."""
    value = struct()
    getattr(_library, f"ov3d_{init}_init")(ctypes.byref(value), ctypes.sizeof(value))
    known = {name for name, _ in struct._fields_}
    for name, field in fields.items():
        if name not in known:
            raise TypeError(f"unknown option '{name}'")
        setattr(value, name, type(getattr(value, name))(*field) if isinstance(field, (tuple, list)) else field)
    return value


# -------------------------------------------------------------------------------------------------------- the objects


def version():
    """The library's version."""
    return _library.ov3d_version().decode()


class _Handle:
    """Owns a handle: freed by `close`, at the end of a `with`, or with the object."""

    _handle = None
    _free = None

    def close(self):
        handle, self._handle = self._handle, None
        if handle is not None:
            self._free(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        self.close()


class Model(_Handle):
    """A trained network."""

    _free = _library.ov3d_model_free

    def __init__(self, path):
        self._handle = _made(_library.ov3d_model_load, os.fsencode(path), None)

    @property
    def info(self):
        """What it is, as a dictionary: voxel_size, text_dim, text_space, license and so on."""
        info = _initialised(_ModelInfo, "model_info")
        _check(_library.ov3d_model_info_get(self._handle, info))
        values = {name: getattr(info, name) for name, _ in info._fields_ if name != "struct_size"}
        return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


class TextEncoder(_Handle):
    """CLIP's tokeniser and a text tower: a safetensors file, or the folder of model.safetensors."""

    _free = _library.ov3d_text_encoder_free

    def __init__(self, path, **options):
        desc = _initialised(_TextEncoderDesc, "text_encoder_desc", **options)
        self._handle = _made(_library.ov3d_text_encoder_load, os.fsencode(path), desc)

    @property
    def info(self):
        """What it is, as a dictionary: dim, context, weight_bytes, text_space."""
        info = _initialised(_TextEncoderInfo, "text_encoder_info")
        _check(_library.ov3d_text_encoder_info_get(self._handle, info))
        return {"dim": info.dim, "context": info.context, "weight_bytes": info.weight_bytes,
                "text_space": info.text_space.decode()}

    def encode(self, texts):
        """[texts, dim] float32 embeddings of unit length."""
        rows = np.empty((len(texts), self.info["dim"]), np.float32)
        _check(_library.ov3d_text_encoder_encode(self._handle, _strings(texts), len(texts), rows.ctypes.data, rows.size))
        return rows


class Vocabulary(_Handle):
    """Labels with their text embeddings; `names` lists them."""

    _free = _library.ov3d_vocabulary_free

    def __init__(self, path):
        self._own(_made(_library.ov3d_vocabulary_load, os.fsencode(path)))

    @classmethod
    def from_embeddings(cls, names, embeddings, text_space=None):
        """One row of `embeddings`, [names, dim], for every name."""
        rows = np.ascontiguousarray(embeddings, np.float32)
        if rows.ndim != 2 or len(rows) != len(names):
            raise ValueError(f"embeddings have shape {rows.shape} for {len(names)} names; give one row for each name")
        texts = _strings(names)
        space = None if text_space is None else text_space.encode()
        desc = _initialised(_VocabularyDesc, "vocabulary_desc", text_space=space)
        vocabulary = cls.__new__(cls)
        vocabulary._own(_made(_library.ov3d_vocabulary_from_embeddings, rows.ctypes.data, *rows.shape, texts, desc))
        return vocabulary

    @classmethod
    def from_texts(cls, encoder, texts, templates=None, **options):
        """Words in the encoder's text space, put into the published template or into `templates`, which hold `{}`; an
        empty list of templates leaves words as they are. `options`: fields of `ov3d_vocabulary_desc`."""
        desc, _kept = _templates(templates, options)
        vocabulary = cls.__new__(cls)
        handle = encoder._handle
        vocabulary._own(_made(_library.ov3d_vocabulary_from_texts, handle, _strings(texts), len(texts), desc))
        return vocabulary

    @classmethod
    def from_preset(cls, encoder, name, templates=None, **options):
        """A published label set, such as "scannet20", in the encoder's text space."""
        desc, _kept = _templates(templates, options)
        vocabulary = cls.__new__(cls)
        vocabulary._own(_made(_library.ov3d_vocabulary_from_preset, encoder._handle, name.encode(), desc))
        return vocabulary

    @classmethod
    def from_names(cls, source, names, **options):
        """Some of the labels of the vocabulary `source`, by name. `options`: fields of `ov3d_vocabulary_desc`."""
        desc = _initialised(_VocabularyDesc, "vocabulary_desc", **options)
        vocabulary = cls.__new__(cls)
        handle = source._handle
        vocabulary._own(_made(_library.ov3d_vocabulary_from_names, handle, _strings(names), len(names), desc))
        return vocabulary

    def _own(self, handle):
        self._handle = handle
        labels = range(_library.ov3d_vocabulary_size(handle))
        self.names = [_library.ov3d_vocabulary_name(handle, label).decode() for label in labels]

    def save(self, path):
        _check(_library.ov3d_vocabulary_save(self._handle, os.fsencode(path)))

    def __len__(self):
        return len(self.names)


def devices():
    """The devices a session may name, as dictionaries: the CPU first, then those of CUDA. `reason` says why one is not
    usable; where no CUDA device can be reached one entry without an ordinal says why."""
    count = c_uint32()
    _check(_library.ov3d_device_count(ctypes.byref(count)))
    found = []
    for index in range(count.value):
        info = _initialised(_DeviceInfo, "device_info")
        _check(_library.ov3d_device_info_get(index, info))
        found.append({"index": index, "kind": "cuda" if info.kind == 1 else "cpu", "name": info.name.decode(),
                      "usable": bool(info.usable), "reason": info.reason.decode(), "memory": info.memory,
                      "uuid": bytes(info.uuid).hex(), "cuda_ordinal": None if info.cuda_ordinal < 0 else info.cuda_ordinal,
                      "capability": (info.capability_major, info.capability_minor)})
    return found


class Session(_Handle):
    """One model on one device. One call at a time; `cancel` may come from another thread."""

    _free = _library.ov3d_session_free

    def __init__(self, model, **options):
        """`options`: fields of `ov3d_session_desc`, such as threads=4."""
        desc = _initialised(_SessionDesc, "session_desc", **options)
        self._handle = _made(_library.ov3d_session_create, model._handle, desc)

    def set_vocabulary(self, vocabulary):
        _check(_library.ov3d_session_set_vocabulary(self._handle, vocabulary._handle))

    def segment(self, positions, colors=None, axes=0, unit_in_metres=1.0, pose=None, normals=None, ids=None, **options):
        """Labels every point and waits. See `begin`."""
        result = self.begin(positions, colors, axes, unit_in_metres, pose, normals, ids, **options)
        result.wait()
        return result

    def begin(self, positions, colors=None, axes=0, unit_in_metres=1.0, pose=None, normals=None, ids=None, **options):
        """Starts labelling and returns a pending `Result`; leave the arrays as they are until it is ready.

        `positions` is [n, 3] float32 or float64 with any distance between rows, or records with fields x, y and z one
        after the other. `colors` is [n, 3] uint8 (0-255) or float32 (0-1). `pose` is a 3x4 or 4x4 transform.
        `normals` is [n, 3] float32 or float64; `ids` is [n] int32 or int64, the superpoint of each point, -1 for none.
        `options`: fields of `ov3d_segment_desc`, such as top_k=3, outputs=OUTPUT_QUERYABLE or vote=VOTE_LABELS;
        superpoints is a dictionary of fields of `ov3d_superpoint_desc`. Nothing is copied.
        """
        cloud, kept = _cloud(positions, colors, axes, unit_in_metres, pose, normals, ids)
        desc, superpoints = _segment_desc(options)
        handle = _made(_library.ov3d_segment_begin, self._handle, cloud, desc)
        return Result(handle, (kept, cloud, desc, superpoints))

    def query(self, result, vocabulary, **options):
        """Scores a result made with OUTPUT_QUERYABLE for other words, without running the network."""
        desc, _ = _segment_desc(options)
        memory = result._memory
        return Result(_made(_library.ov3d_session_query, self._handle, memory.handle, vocabulary._handle, desc), None)

    def cancel(self):
        _check(_library.ov3d_session_cancel(self._handle))


def superpoints(positions, colors=None, axes=0, unit_in_metres=1.0, pose=None, normals=None, **options):
    """A ready `Result` with `superpoints` and what belongs to them, without model or session.

    `options`: fields of `ov3d_superpoint_desc`, such as method=SUPERPOINTS_GRAPH, count=500. Otherwise as `Session.begin`.
    """
    cloud, kept = _cloud(positions, colors, axes, unit_in_metres, pose, normals, None)
    desc = _initialised(_SuperpointDesc, "superpoint_desc", **options)
    return Result(_made(_library.ov3d_superpoints, cloud, desc), kept)


class Result:
    """What a segmentation gave: `labels`, `scores` and other arrays, None where not asked for; reading one waits.

    It is freed when neither it nor an array of it is left; in flight, that cancels the run.
    """

    def __init__(self, handle, inputs):
        self._memory = _ResultMemory(handle, inputs)
        self._contents = None

    def wait(self, seconds=None):
        """Waits until the run has ended; raises its error, or OV3D_ERROR_TIMEOUT after so many `seconds`."""
        timeout = 2**64 - 1 if seconds is None else int(seconds * 1e9)
        _check(_library.ov3d_result_wait(self._memory.handle, timeout))
        self._memory.inputs = None

    @property
    def ready(self):
        return _library.ov3d_result_ready(self._memory.handle) != 0

    @property
    def timings(self):
        """Milliseconds per stage, as a dictionary."""
        timings = _initialised(_Timings, "timings")
        _check(_library.ov3d_result_timings_get(self._memory.handle, timings))
        return {name: getattr(timings, name) for name, _ in timings._fields_[2:]}

    @property
    def _view(self):
        if self._contents is None:
            self.wait()
            view = _initialised(_ResultView, "result_view")
            _check(_library.ov3d_result_get(self._memory.handle, view))
            self._contents = view
        return self._contents

    def _array(self, field, dtype, *shape):
        pointer = getattr(self._view, field)
        if not pointer:
            return np.empty(shape, dtype) if shape[0] == 0 else None
        return np.asarray(_Lent(self._memory, pointer, dtype, shape))

    labels = property(lambda self: self._array("labels", "<i4", self._view.points))
    scores = property(lambda self: self._array("scores", "<f4", self._view.points))
    top_labels = property(lambda self: self._array("top_labels", "<i4", self._view.points, self._view.top_k))
    top_scores = property(lambda self: self._array("top_scores", "<f4", self._view.points, self._view.top_k))
    voxel_of_point = property(lambda self: self._array("voxel_of_point", "<i4", self._view.points))
    coordinates = property(lambda self: self._array("coordinates", "<i4", self._view.voxels, 3))
    features = property(lambda self: self._array("features", "<f2", self._view.voxels, self._view.feature_dim))
    logits = property(lambda self: self._array("logits", "<f4", self._view.voxels, self._view.label_count))
    superpoints = property(lambda self: self._array("superpoints", "<i4", self._view.points))
    superpoint_sizes = property(lambda self: self._array("superpoint_sizes", "<u4", self._view.superpoint_count))
    superpoint_centroids = property(
        lambda self: self._array("superpoint_centroids", "<f8", self._view.superpoint_count, 3))
    superpoint_adjacency = property(
        lambda self: self._array("superpoint_adjacency", "<u4", self._view.superpoint_pairs, 2))
    superpoint_features = property(
        lambda self: self._array("superpoint_features", "<f2", self._view.superpoint_count, self._view.feature_dim))


class _ResultMemory:
    """A result's handle, freed when neither the result nor an array of it is left; keeps the inputs in the run."""

    def __init__(self, handle, inputs):
        self.handle, self.inputs = handle, inputs

    def __del__(self):
        _library.ov3d_result_free(self.handle)


class _Lent:
    """Memory of a result as numpy takes it in; the array keeps this, and this keeps the memory."""

    def __init__(self, memory, pointer, dtype, shape):
        self._memory = memory
        self.__array_interface__ = {"version": 3, "typestr": dtype, "shape": shape, "data": (pointer, True)}


def _cloud(positions, colors, axes, unit_in_metres, pose, normals, ids):
    """A descriptor of the cloud, and the arrays that must live as long as it."""
    positions = _rows(positions, "positions")
    cloud = _initialised(_Cloud, "cloud", count=len(positions), axes=axes, unit_in_metres=unit_in_metres)
    cloud.positions = _view(positions)
    parts = {"colors": colors, "normals": normals, "superpoints": ids}
    for name, part in parts.items():
        if part is not None:
            parts[name] = part = _ids(part) if name == "superpoints" else _rows(part, name)
            if len(part) != len(positions):
                raise ValueError(f"{len(part)} {name} for {len(positions)} positions; give each point one")
            setattr(cloud, name, _view(part))
    if pose is not None:
        pose = np.ascontiguousarray(pose, np.float64)[:3]
        if pose.shape != (3, 4):
            raise ValueError(f"pose has shape {np.shape(pose)}; give a 3x4 or 4x4 transform")
        cloud.pose = pose.ctypes.data
    return cloud, (positions, parts, pose)


def _segment_desc(options):
    """A descriptor with `options`, and that of its superpoints, which must live as long."""
    superpoints = options.pop("superpoints", None)
    desc = _initialised(_SegmentDesc, "segment_desc", **options)
    if superpoints is not None:
        superpoints = _initialised(_SuperpointDesc, "superpoint_desc", **superpoints)
        desc.superpoints = ctypes.pointer(superpoints)
    return desc, superpoints


def _ids(array):
    """`array` as [n] integers in place."""
    array = np.asarray(array)
    if array.dtype not in (np.int32, np.int64) or array.ndim != 1 or (len(array) > 1 and array.strides[0] < 0):
        raise ValueError(f"ids are {array.dtype} of shape {array.shape}; give [n] of int32 or int64, in rising order")
    return array


def _strings(texts):
    return (c_char_p * len(texts))(*(text.encode() for text in texts))


def _templates(templates, options):
    """A descriptor with `options` and `templates`, and what must live as long as it."""
    kept = None
    if templates is not None and len(templates) == 0:
        options = {**options, "flags": VOCABULARY_BARE}
    elif templates is not None:
        kept = _strings(templates)
        options = {**options, "templates": ctypes.addressof(kept), "template_count": len(kept)}
    return _initialised(_VocabularyDesc, "vocabulary_desc", **options), kept


def _rows(array, name):
    """`array` as [n, 3] in place: records become their x, y and z."""
    array = np.asarray(array)
    if array.dtype.names is not None:
        fields = [array.dtype.fields.get(axis, (None, 0))[:2] for axis in "xyz"]
        dtype, first = fields[0]
        if array.ndim != 1 or dtype is None or fields != [(dtype, first + i * dtype.itemsize) for i in range(3)]:
            raise ValueError(f"{name} are {array.dtype}; records need fields x, y and z of one type, in a row")
        array = np.lib.stride_tricks.as_strided(array["x"], (len(array), 3), (array.strides[0], dtype.itemsize))
    row = 3 * array.dtype.itemsize
    if array.dtype not in DTYPES or array.ndim != 2 or array.shape[1] != 3:
        known = ", ".join(map(str, DTYPES))
        raise ValueError(f"{name} are {array.dtype} of shape {array.shape}; give [n, 3] of {known}")
    if len(array) and (array.strides[1] != array.itemsize or (len(array) > 1 and array.strides[0] < row)):
        raise ValueError(f"{name} have strides {array.strides}: the three values of a point must lie together, points "
                         f"in rising order; numpy.ascontiguousarray makes such a copy")
    return array


def _view(array):
    components = 1 if array.ndim == 1 else array.shape[1]
    stride = array.strides[0] if len(array) > 1 else components * array.itemsize
    return _StridedView(array.ctypes.data, stride, DTYPES[array.dtype], components)
