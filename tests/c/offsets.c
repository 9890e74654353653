// offsets.c - the place and size of every field, frozen: a client built against this header relies on them.
//
// Fields may be added at the end of a struct; then its size here grows. Nothing else may change. 64-bit only. What was
// added since the frozen header of interface 1, which is held against this file too, stands under a name it lacks.

#include "openvocab3d.h"

#define SIZE(type, size) _Static_assert(sizeof(type) == (size), "size of " #type)
#define FIELD(type, field, offset, size)                                                                               \
    _Static_assert(offsetof(type, field) == (offset) && sizeof(((type *)0)->field) == (size), #type "." #field)

#if UINTPTR_MAX == UINT64_MAX
SIZE(ov3d_strided_view, 40);
FIELD(ov3d_strided_view, data, 0, 8);
FIELD(ov3d_strided_view, stride_bytes, 8, 8);
FIELD(ov3d_strided_view, dtype, 16, 4);
FIELD(ov3d_strided_view, components, 20, 4);
FIELD(ov3d_strided_view, reserved, 24, 16);

FIELD(ov3d_cloud, struct_size, 0, 4);
FIELD(ov3d_cloud, memory, 4, 4);
FIELD(ov3d_cloud, count, 8, 8);
FIELD(ov3d_cloud, positions, 16, 40);
FIELD(ov3d_cloud, colors, 56, 40);
FIELD(ov3d_cloud, unit_in_metres, 96, 8);
FIELD(ov3d_cloud, pose, 104, 8);
FIELD(ov3d_cloud, axes, 112, 4);
FIELD(ov3d_cloud, flags, 116, 4);
#ifdef OV3D_SUPERPOINTS_VCCS
SIZE(ov3d_cloud, 200);
FIELD(ov3d_cloud, normals, 120, 40);
FIELD(ov3d_cloud, superpoints, 160, 40);

SIZE(ov3d_superpoint_desc, 80);
FIELD(ov3d_superpoint_desc, struct_size, 0, 4);
FIELD(ov3d_superpoint_desc, method, 4, 4);
FIELD(ov3d_superpoint_desc, voxel_size, 8, 8);
FIELD(ov3d_superpoint_desc, seed_size, 16, 8);
FIELD(ov3d_superpoint_desc, stray_reach, 24, 8);
FIELD(ov3d_superpoint_desc, spatial_weight, 32, 4);
FIELD(ov3d_superpoint_desc, color_weight, 36, 4);
FIELD(ov3d_superpoint_desc, normal_weight, 40, 4);
FIELD(ov3d_superpoint_desc, step_weight, 44, 4);
FIELD(ov3d_superpoint_desc, feature_weight, 48, 4);
FIELD(ov3d_superpoint_desc, scale, 52, 4);
FIELD(ov3d_superpoint_desc, count, 56, 4);
FIELD(ov3d_superpoint_desc, least_voxels, 60, 4);
FIELD(ov3d_superpoint_desc, rounds, 64, 4);
FIELD(ov3d_superpoint_desc, refinements, 68, 4);
FIELD(ov3d_superpoint_desc, threads, 72, 4);
FIELD(ov3d_superpoint_desc, flags, 76, 4);
#else
SIZE(ov3d_cloud, 120);
#endif

FIELD(ov3d_device_info, struct_size, 0, 4);
FIELD(ov3d_device_info, kind, 4, 4);
FIELD(ov3d_device_info, usable, 8, 4);
FIELD(ov3d_device_info, cuda_ordinal, 12, 4);
FIELD(ov3d_device_info, memory, 16, 8);
FIELD(ov3d_device_info, uuid, 24, 16);
FIELD(ov3d_device_info, name, 40, 128);
FIELD(ov3d_device_info, reason, 168, 256);
#ifdef OV3D_DEVICE_CUDA
SIZE(ov3d_device_info, 432);
FIELD(ov3d_device_info, capability_major, 424, 4);
FIELD(ov3d_device_info, capability_minor, 428, 4);
#else
SIZE(ov3d_device_info, 424);
#endif

SIZE(ov3d_log_desc, 24);
FIELD(ov3d_log_desc, struct_size, 0, 4);
FIELD(ov3d_log_desc, level, 4, 4);
FIELD(ov3d_log_desc, callback, 8, 8);
FIELD(ov3d_log_desc, user_data, 16, 8);

SIZE(ov3d_model_desc, 8);
FIELD(ov3d_model_desc, struct_size, 0, 4);
FIELD(ov3d_model_desc, flags, 4, 4);

SIZE(ov3d_model_info, 72);
FIELD(ov3d_model_info, struct_size, 0, 4);
FIELD(ov3d_model_info, input, 4, 4);
FIELD(ov3d_model_info, voxel_size, 8, 8);
FIELD(ov3d_model_info, text_dim, 16, 4);
FIELD(ov3d_model_info, trunk_dim, 20, 4);
FIELD(ov3d_model_info, parameters, 24, 8);
FIELD(ov3d_model_info, weight_bytes, 32, 8);
FIELD(ov3d_model_info, text_space, 40, 8);
FIELD(ov3d_model_info, prompt_template, 48, 8);
FIELD(ov3d_model_info, variant, 56, 8);
FIELD(ov3d_model_info, license, 64, 8);

FIELD(ov3d_result_view, struct_size, 0, 4);
FIELD(ov3d_result_view, memory, 4, 4);
FIELD(ov3d_result_view, points, 8, 8);
FIELD(ov3d_result_view, voxels, 16, 8);
FIELD(ov3d_result_view, label_count, 24, 4);
FIELD(ov3d_result_view, top_k, 28, 4);
FIELD(ov3d_result_view, feature_dim, 32, 4);
FIELD(ov3d_result_view, reserved, 36, 4);
FIELD(ov3d_result_view, labels, 40, 8);
FIELD(ov3d_result_view, scores, 48, 8);
FIELD(ov3d_result_view, top_labels, 56, 8);
FIELD(ov3d_result_view, top_scores, 64, 8);
FIELD(ov3d_result_view, voxel_of_point, 72, 8);
FIELD(ov3d_result_view, coordinates, 80, 8);
FIELD(ov3d_result_view, features, 88, 8);
FIELD(ov3d_result_view, logits, 96, 8);
#ifdef OV3D_SUPERPOINTS_VCCS
SIZE(ov3d_result_view, 160);
FIELD(ov3d_result_view, superpoint_count, 104, 8);
FIELD(ov3d_result_view, superpoint_pairs, 112, 8);
FIELD(ov3d_result_view, superpoints, 120, 8);
FIELD(ov3d_result_view, superpoint_sizes, 128, 8);
FIELD(ov3d_result_view, superpoint_centroids, 136, 8);
FIELD(ov3d_result_view, superpoint_adjacency, 144, 8);
FIELD(ov3d_result_view, superpoint_features, 152, 8);
#else
SIZE(ov3d_result_view, 104);
#endif

FIELD(ov3d_timings, struct_size, 0, 4);
FIELD(ov3d_timings, reserved, 4, 4);
FIELD(ov3d_timings, total, 8, 8);
FIELD(ov3d_timings, quantise, 16, 8);
FIELD(ov3d_timings, levels, 24, 8);
FIELD(ov3d_timings, kernel_maps, 32, 8);
FIELD(ov3d_timings, network, 40, 8);
FIELD(ov3d_timings, head, 48, 8);
FIELD(ov3d_timings, features, 56, 8);
FIELD(ov3d_timings, gflop, 64, 8);
#ifdef OV3D_SUPERPOINTS_VCCS
SIZE(ov3d_timings, 88);
FIELD(ov3d_timings, superpoints, 72, 8);
FIELD(ov3d_timings, vote, 80, 8);
#else
SIZE(ov3d_timings, 72);
#endif

FIELD(ov3d_segment_desc, struct_size, 0, 4);
FIELD(ov3d_segment_desc, outputs, 4, 4);
FIELD(ov3d_segment_desc, similarity, 8, 4);
FIELD(ov3d_segment_desc, temperature, 12, 4);
FIELD(ov3d_segment_desc, top_k, 16, 4);
FIELD(ov3d_segment_desc, grid_origin, 20, 4);
FIELD(ov3d_segment_desc, representative, 24, 4);
FIELD(ov3d_segment_desc, repeats, 28, 4);
FIELD(ov3d_segment_desc, seed, 32, 8);
FIELD(ov3d_segment_desc, rotation, 40, 24);
FIELD(ov3d_segment_desc, scale, 64, 16);
FIELD(ov3d_segment_desc, voxel_size, 80, 8);
FIELD(ov3d_segment_desc, labels, 88, 8);
FIELD(ov3d_segment_desc, labels_capacity, 96, 8);
FIELD(ov3d_segment_desc, scores, 104, 8);
FIELD(ov3d_segment_desc, scores_capacity, 112, 8);
FIELD(ov3d_segment_desc, progress, 120, 8);
FIELD(ov3d_segment_desc, user_data, 128, 8);
#ifdef OV3D_SUPERPOINTS_VCCS
SIZE(ov3d_segment_desc, 152);
FIELD(ov3d_segment_desc, superpoints, 136, 8);
FIELD(ov3d_segment_desc, vote, 144, 4);
FIELD(ov3d_segment_desc, vote_weight, 148, 4);
#else
SIZE(ov3d_segment_desc, 136);
#endif

FIELD(ov3d_session_desc, struct_size, 0, 4);
FIELD(ov3d_session_desc, device, 4, 4);
FIELD(ov3d_session_desc, threads, 8, 4);
FIELD(ov3d_session_desc, flags, 12, 4);
FIELD(ov3d_session_desc, memory_budget, 16, 8);
#ifdef OV3D_PRECISION_BF16
SIZE(ov3d_session_desc, 32);
FIELD(ov3d_session_desc, precision, 24, 4);
FIELD(ov3d_session_desc, reserved, 28, 4);
#else
SIZE(ov3d_session_desc, 24);
#endif

SIZE(ov3d_session_info, 40);
FIELD(ov3d_session_info, struct_size, 0, 4);
FIELD(ov3d_session_info, device, 4, 4);
FIELD(ov3d_session_info, threads, 8, 4);
FIELD(ov3d_session_info, reserved, 12, 4);
FIELD(ov3d_session_info, bytes_in_use, 16, 8);
FIELD(ov3d_session_info, bytes_peak, 24, 8);
FIELD(ov3d_session_info, bytes_capacity, 32, 8);

#ifdef OV3D_VOCABULARY_BARE
SIZE(ov3d_text_encoder_desc, 32);
FIELD(ov3d_text_encoder_desc, struct_size, 0, 4);
FIELD(ov3d_text_encoder_desc, threads, 4, 4);
FIELD(ov3d_text_encoder_desc, precision, 8, 4);
FIELD(ov3d_text_encoder_desc, overflow, 12, 4);
FIELD(ov3d_text_encoder_desc, text_space, 16, 8);
FIELD(ov3d_text_encoder_desc, flags, 24, 4);
FIELD(ov3d_text_encoder_desc, reserved, 28, 4);

SIZE(ov3d_text_encoder_info, 32);
FIELD(ov3d_text_encoder_info, struct_size, 0, 4);
FIELD(ov3d_text_encoder_info, dim, 4, 4);
FIELD(ov3d_text_encoder_info, context, 8, 4);
FIELD(ov3d_text_encoder_info, reserved, 12, 4);
FIELD(ov3d_text_encoder_info, weight_bytes, 16, 8);
FIELD(ov3d_text_encoder_info, text_space, 24, 8);

SIZE(ov3d_vocabulary_desc, 48);
FIELD(ov3d_vocabulary_desc, templates, 24, 8);
FIELD(ov3d_vocabulary_desc, template_count, 32, 8);
FIELD(ov3d_vocabulary_desc, other_label, 40, 4);
FIELD(ov3d_vocabulary_desc, other_threshold, 44, 4);
#else
SIZE(ov3d_vocabulary_desc, 24);
#endif
FIELD(ov3d_vocabulary_desc, struct_size, 0, 4);
FIELD(ov3d_vocabulary_desc, flags, 4, 4);
FIELD(ov3d_vocabulary_desc, text_space, 8, 8);
FIELD(ov3d_vocabulary_desc, label_of_row, 16, 8);
#endif

// Numbers are never reused.
#define NUMBER(name, value) _Static_assert((name) == (value), #name)
NUMBER(OV3D_DTYPE_F32, 1);
NUMBER(OV3D_DTYPE_F64, 2);
NUMBER(OV3D_DTYPE_U8, 3);
#ifdef OV3D_SUPERPOINTS_VCCS
NUMBER(OV3D_DTYPE_I32, 4);
NUMBER(OV3D_DTYPE_I64, 5);
NUMBER(OV3D_SUPERPOINTS_VCCS, 0);
NUMBER(OV3D_SUPERPOINTS_VCCS_PCL, 1);
NUMBER(OV3D_SUPERPOINTS_GRAPH, 2);
NUMBER(OV3D_VOTE_NONE, 0);
NUMBER(OV3D_VOTE_LABELS, 1);
NUMBER(OV3D_VOTE_SCORES, 2);
NUMBER(OV3D_VOTE_WEIGHT_ONE, 0);
NUMBER(OV3D_VOTE_WEIGHT_MARGIN, 1);
#endif
NUMBER(OV3D_MEMORY_HOST, 0);
NUMBER(OV3D_AXES_RIGHT_HANDED_Z_UP, 0);
NUMBER(OV3D_AXES_LEFT_HANDED_Z_UP, 1);
NUMBER(OV3D_AXES_RIGHT_HANDED_Y_UP, 2);
NUMBER(OV3D_AXES_LEFT_HANDED_Y_UP, 3);
NUMBER(OV3D_AXES_CAMERA, 4);
NUMBER(OV3D_DEVICE_CPU, 0);
NUMBER(OV3D_LOG_ERROR, 1);
NUMBER(OV3D_LOG_WARNING, 2);
NUMBER(OV3D_INPUT_ONES, 0);
NUMBER(OV3D_INPUT_COLORS, 1);
NUMBER(OV3D_SIMILARITY_DOT, 0);
NUMBER(OV3D_SIMILARITY_COSINE, 1);
NUMBER(OV3D_GRID_MINIMUM, 0);
NUMBER(OV3D_GRID_WORLD, 1);
NUMBER(OV3D_REPRESENTATIVE_FIRST, 0);
NUMBER(OV3D_REPRESENTATIVE_CANONICAL, 1);
#ifdef OV3D_VOCABULARY_BARE
NUMBER(OV3D_PRECISION_F16, 3);
NUMBER(OV3D_OVERFLOW_REFUSE, 0);
NUMBER(OV3D_OVERFLOW_TRUNCATE, 1);
NUMBER(OV3D_VOCABULARY_BARE, 1);
#endif
NUMBER(OV3D_OUTPUT_LOGITS, 1);
NUMBER(OV3D_OUTPUT_TRUNK_FEATURES, 2);
NUMBER(OV3D_OUTPUT_TEXT_FEATURES, 4);
NUMBER(OV3D_OUTPUT_QUERYABLE, 8);
NUMBER(OV3D_LABEL_NONE, -1);
NUMBER(OV3D_OK, 0);
NUMBER(OV3D_ERROR_INVALID_ARGUMENT, -100);
NUMBER(OV3D_ERROR_MISMATCH, -101);
NUMBER(OV3D_ERROR_OUT_OF_RANGE, -102);
NUMBER(OV3D_ERROR_INVALID_STATE, -103);
NUMBER(OV3D_ERROR_INVALID_HANDLE, -104);
NUMBER(OV3D_ERROR_STRUCT_SIZE, -105);
NUMBER(OV3D_ERROR_CAPACITY, -106);
NUMBER(OV3D_ERROR_IO, -200);
NUMBER(OV3D_ERROR_FORMAT, -201);
NUMBER(OV3D_ERROR_UNSUPPORTED, -202);
NUMBER(OV3D_ERROR_OUT_OF_MEMORY, -300);
NUMBER(OV3D_ERROR_BUDGET, -301);
NUMBER(OV3D_ERROR_CANCELLED, -400);
NUMBER(OV3D_ERROR_BUSY, -401);
NUMBER(OV3D_ERROR_TIMEOUT, -402);
#ifdef OV3D_ERROR_DEVICE
NUMBER(OV3D_ERROR_DEVICE, -500);
#endif
NUMBER(OV3D_ERROR_INTERNAL, -900);
