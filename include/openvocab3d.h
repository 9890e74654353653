/* openvocab3d.h - open-vocabulary 3D segmentation of point clouds. This file is the manual of the C interface.
 *
 * Use. Load a model, make a vocabulary of words or load one, create a session, set the vocabulary, segment clouds, read labels, free.
 * examples/c/hello.c is the whole of it. Link with -lopenvocab3d, or dlopen libopenvocab3d.so.0.1.
 *
 * Statuses. Functions that can fail return an ov3d_status: OV3D_OK or a negative OV3D_ERROR_*. ov3d_last_error copies
 * out the thread's message, which names the argument, its value, the limit and the cure. Out-parameters are written
 * on success only. No call aborts, exits, prints or throws; after any error every other object goes on working.
 *
 * Structs. Every descriptor and view starts with struct_size. Initialise it with its _init function, passing its sizeof:
 * a program built against an older header then goes on working with a newer library. A descriptor pointer may be NULL for
 * defaults.
 *
 * Handles. ov3d_model, ov3d_text_encoder, ov3d_vocabulary and ov3d_result may be used from any thread, several at once; an
 * ov3d_session takes one call at a time. Every object keeps what it uses: free a handle as soon as you do not need it yourself. Freeing NULL
 * does nothing; otherwise NULL where a handle is needed is OV3D_ERROR_INVALID_ARGUMENT, and a handle that is stale, of
 * another kind or no handle at all is OV3D_ERROR_INVALID_HANDLE (in a _free function a line in the log), never a crash.
 *
 * Strings are UTF-8 and NUL-terminated. Units are metres unless said otherwise. */


#ifndef OPENVOCAB3D_H
#define OPENVOCAB3D_H

#include <stddef.h>
#include <stdint.h>

// Major version of the library this header belongs to.
#define OV3D_VERSION_MAJOR 0

// Minor version of the library this header belongs to.
#define OV3D_VERSION_MINOR 1

// Patch version of the library this header belongs to.
#define OV3D_VERSION_PATCH 0

// Number of the binary interface this header describes. It grows when functions or fields are added; a library of a
// higher number serves clients of a lower one.
#define OV3D_ABI_VERSION 2

// Something went wrong; the call's status says so too.
#define OV3D_LOG_ERROR 1

// Something a developer should look at, such as a handle freed twice.
#define OV3D_LOG_WARNING 2

// The host's processor.
#define OV3D_DEVICE_CPU 0

// An NVIDIA GPU.
#define OV3D_DEVICE_CUDA 1

// The network reads constant ones: colours have no effect.
#define OV3D_INPUT_ONES 0

// The network reads colours.
#define OV3D_INPUT_COLORS 1

// Weights in FP16: text encoders alone, whose sums are FP32.
#define OV3D_PRECISION_F16 3

// A text of more tokens than the tower reads (77 with start and end in CLIP) is `OV3D_ERROR_INVALID_ARGUMENT`.
#define OV3D_OVERFLOW_REFUSE 0

// Of such a text the last tokens are left out.
#define OV3D_OVERFLOW_TRUNCATE 1

// Texts are encoded as they are, without a template.
#define OV3D_VOCABULARY_BARE 1

// 32-bit floats.
#define OV3D_DTYPE_F32 1

// 64-bit floats.
#define OV3D_DTYPE_F64 2

// Unsigned bytes.
#define OV3D_DTYPE_U8 3

// 32-bit integers with a sign.
#define OV3D_DTYPE_I32 4

// 64-bit integers with a sign.
#define OV3D_DTYPE_I64 5

// Memory of the host.
#define OV3D_MEMORY_HOST 0

// Right-handed, z up: ROS, ScanNet, KITTI, nuScenes, Gazebo, Isaac Sim. Left as it is.
#define OV3D_AXES_RIGHT_HANDED_Z_UP 0

// x forward, y right, z up: Unreal, CARLA. Becomes (x, -y, z).
#define OV3D_AXES_LEFT_HANDED_Z_UP 1

// x right, y up, z backward: Godot, OpenGL. Becomes (x, -z, y).
#define OV3D_AXES_RIGHT_HANDED_Y_UP 2

// x right, y up, z forward: Unity. Becomes (x, z, y).
#define OV3D_AXES_LEFT_HANDED_Y_UP 3

// x right, y down, z forward: a camera's own frame. Becomes (x, z, -y).
#define OV3D_AXES_CAMERA 4

// Even, compact superpoints that grow from seeds (VCCS, Papon et al., CVPR 2013), each connected and none left out.
#define OV3D_SUPERPOINTS_VCCS 0

// The same as version 1.13 of the point cloud library computes it, for comparisons: points may have none.
#define OV3D_SUPERPOINTS_VCCS_PCL 1

// Regions merged along the weakest borders: the best borders for a given number of superpoints.
#define OV3D_SUPERPOINTS_GRAPH 2

// Raw dot products of unnormalised features with unit text embeddings, as published.
#define OV3D_SIMILARITY_DOT 0

// Cosines.
#define OV3D_SIMILARITY_COSINE 1

// The cloud's per-axis minimum voxel becomes 0, as published.
#define OV3D_GRID_MINIMUM 0

// A lattice fixed in the world: labels of still objects do not flicker when the cloud grows.
#define OV3D_GRID_WORLD 1

// A voxel takes the colour of its point with the lowest index, as published.
#define OV3D_REPRESENTATIVE_FIRST 0

// A voxel takes the colour of its point with the smallest position: independent of the order of the points.
#define OV3D_REPRESENTATIVE_CANONICAL 1

// Every point keeps the label of its own best score.
#define OV3D_VOTE_NONE 0

// The most frequent label of its points becomes that of the whole superpoint.
#define OV3D_VOTE_LABELS 1

// The label with the largest sum of its points' scores becomes that of the whole superpoint; not with repeats.
#define OV3D_VOTE_SCORES 2

// Every point counts as one.
#define OV3D_VOTE_WEIGHT_ONE 0

// A point counts by how far its best score lies above its second.
#define OV3D_VOTE_WEIGHT_MARGIN 1

// Return the scores of all labels for every voxel.
#define OV3D_OUTPUT_LOGITS 1

// Return the trunk features of every voxel.
#define OV3D_OUTPUT_TRUNK_FEATURES 2

// Return the text-space features of every voxel (not normalised).
#define OV3D_OUTPUT_TEXT_FEATURES 4

// Keep what `ov3d_session_query` needs.
#define OV3D_OUTPUT_QUERYABLE 8

// The label of a point whose position is not finite.
#define OV3D_LABEL_NONE -1

// The device's own choice: FP32 on the CPU.
#define OV3D_PRECISION_DEFAULT 0

// FP32 throughout.
#define OV3D_PRECISION_F32 1

// Features and weights in BF16, sums in FP32: faster where the CPU has AVX-512 BF16 or AMX, and half the memory. Asks
// Linux for AMX's tile registers, for which alternate signal stacks must be large enough (`AT_MINSIGSTKSZ`).
#define OV3D_PRECISION_BF16 2

// Opaque.
typedef struct ov3d_model_s ov3d_model_s;

// Opaque.
typedef struct ov3d_result_s ov3d_result_s;

// Opaque.
typedef struct ov3d_session_s ov3d_session_s;

// Opaque.
typedef struct ov3d_text_encoder_s ov3d_text_encoder_s;

// Opaque.
typedef struct ov3d_vocabulary_s ov3d_vocabulary_s;

// The result of a call: `OV3D_OK` or one of the negative `OV3D_ERROR_*`, in hundreds by cause. A number is never
// reused. `ov3d_last_error` gives the sentence that goes with it.
typedef int32_t ov3d_status;

// A log callback: the level, a NUL-terminated UTF-8 message that lives until it returns, and the sink's user data. It may
// be called from any thread, several at once; it must not call `ov3d_log_set` and must not throw.
typedef void (*ov3d_log_fn)(int32_t level, const char *message, void *user_data);

// A log sink.
typedef struct ov3d_log_desc {
    // Set by `ov3d_log_desc_init`.
    uint32_t struct_size;
    // Highest level to report: `OV3D_LOG_ERROR` or `OV3D_LOG_WARNING` (default).
    int32_t level;
    // The callback; NULL is silent.
    ov3d_log_fn callback;
    // Handed to the callback.
    void *user_data;
} ov3d_log_desc;

// What a device is and whether it can be used.
typedef struct ov3d_device_info {
    // Set by `ov3d_device_info_init`.
    uint32_t struct_size;
    // `OV3D_DEVICE_CPU` or `OV3D_DEVICE_CUDA`.
    int32_t kind;
    // 1 if sessions can be created on it, 0 with the reason in `reason`.
    int32_t usable;
    // CUDA's number of the device; -1 for the CPU, and for the entry that tells why there is no CUDA device.
    int32_t cuda_ordinal;
    // Bytes of its memory; 0 if unknown.
    uint64_t memory;
    // Its UUID as the driver gives it; zeros for the CPU.
    uint8_t uuid[16];
    // Its name, NUL-terminated.
    char name[128];
    // Why it cannot be used, NUL-terminated; empty if it can.
    char reason[256];
    // Major compute capability of a CUDA device, else 0. Since interface 2.
    int32_t capability_major;
    // Minor compute capability of a CUDA device, else 0. Since interface 2.
    int32_t capability_minor;
} ov3d_device_info;

// How to load a model.
typedef struct ov3d_model_desc {
    // Set by `ov3d_model_desc_init`.
    uint32_t struct_size;
    // Must be 0.
    uint32_t flags;
} ov3d_model_desc;

// What a model is. The strings live until the model is freed.
typedef struct ov3d_model_info {
    // Set by `ov3d_model_info_init`.
    uint32_t struct_size;
    // `OV3D_INPUT_ONES` or `OV3D_INPUT_COLORS`.
    int32_t input;
    // Edge of a voxel in metres.
    double voxel_size;
    // Width of the text space, which a vocabulary's embeddings must have.
    uint32_t text_dim;
    // Width of the trunk features.
    uint32_t trunk_dim;
    // Number of weights.
    uint64_t parameters;
    // Bytes of the weights as stored.
    uint64_t weight_bytes;
    // Name of the text space, such as `"clip-vit-l14-336"`.
    const char *text_space;
    // What names are put into before encoding, `{}` standing for the name.
    const char *prompt_template;
    // Name of the network, such as `"MinkUNet18A"`; NULL for widths of its own.
    const char *variant;
    // Licence of the weights; NULL if not stated.
    const char *license;
} ov3d_model_info;

// A trained network. Immutable; any thread may use it. Free it with `ov3d_model_free` as soon as the last session that
// needs it is created: sessions keep what they use.
typedef struct ov3d_model_s *ov3d_model;

// How a text encoder is loaded.
typedef struct ov3d_text_encoder_desc {
    // Set by `ov3d_text_encoder_desc_init`.
    uint32_t struct_size;
    // Threads of the encoder's own pool; 0 (default) for all of the machine's.
    uint32_t threads;
    // The width at which weights are kept: `OV3D_PRECISION_DEFAULT` (default) for that of the file, or
    // `OV3D_PRECISION_F32`, `OV3D_PRECISION_BF16`, `OV3D_PRECISION_F16`. Sums are FP32.
    int32_t precision;
    // `OV3D_OVERFLOW_REFUSE` (default) or `OV3D_OVERFLOW_TRUNCATE`.
    int32_t overflow;
    // Name of the text space; NULL (default) for the one that the file's sizes and `config.json` tell.
    const char *text_space;
    // Must be 0.
    uint32_t flags;
    // Zero.
    uint32_t reserved;
} ov3d_text_encoder_desc;

// What a text encoder is. The string lives until the encoder is freed.
typedef struct ov3d_text_encoder_info {
    // Set by `ov3d_text_encoder_info_init`.
    uint32_t struct_size;
    // Width of an embedding.
    uint32_t dim;
    // Most tokens of a text, start and end included.
    uint32_t context;
    // Zero.
    uint32_t reserved;
    // Bytes of the weights in memory.
    uint64_t weight_bytes;
    // Name of the text space, such as `"clip-vit-l14-336"`.
    const char *text_space;
} ov3d_text_encoder_info;

// CLIP's tokeniser and a text tower. Immutable; any thread may use it, several at once. Vocabularies made with it do not
// need it any more.
typedef struct ov3d_text_encoder_s *ov3d_text_encoder;

// How embeddings or texts make a vocabulary.
typedef struct ov3d_vocabulary_desc {
    // Set by `ov3d_vocabulary_desc_init`.
    uint32_t struct_size;
    // `OV3D_VOCABULARY_BARE` or 0.
    uint32_t flags;
    // Name of the text space of embeddings, to be compared with the model's; NULL (default) fits any model of the same
    // width. Texts have that of their encoder.
    const char *text_space;
    // `[count]` the label each row stands for, from 0 without gaps: rows of one label are its prompts, and the best of
    // them is its score. NULL (default): every row is a label of its own. The label's name is that of its first row.
    const uint32_t *label_of_row;
    // What texts are put into before they are encoded, `{}` standing for the text; the embeddings of several templates are
    // averaged. NULL (default): `a {} in a scene`, as published.
    const char *const *templates;
    // Number of templates.
    uint64_t template_count;
    // The label that points get whose best score is below `other_threshold`; `OV3D_LABEL_NONE` (default) for none. It is
    // a label like the others besides.
    int32_t other_label;
    // In the unit of the scores asked for: dot products, cosines, or shares of a softmax.
    float other_threshold;
} ov3d_vocabulary_desc;

// Labels with text embeddings. Immutable; any thread may use it; sessions and results keep what they use.
typedef struct ov3d_vocabulary_s *ov3d_vocabulary;

// Rows of `components` values each, `stride_bytes` apart, at any alignment. The layout is frozen. All zero means absent.
typedef struct ov3d_strided_view {
    // The first value of the first row.
    const void *data;
    // Bytes from one row to the next; at least the bytes of one row.
    uint64_t stride_bytes;
    // `OV3D_DTYPE_*`.
    int32_t dtype;
    // Values per row.
    uint32_t components;
    // Must be zero.
    uint64_t reserved[2];
} ov3d_strided_view;

// A cloud in the caller's memory and the caller's frame. The rows of its views must stay valid and unchanged until the
// result is ready; the struct itself and the pose are copied when the call is made.
// Positions become metres by `unit_in_metres`, then right-handed with z up by `axes`, then `pose` is applied. Points whose
// position is not finite get the label `OV3D_LABEL_NONE`.
typedef struct ov3d_cloud {
    // Set by `ov3d_cloud_init`.
    uint32_t struct_size;
    // `OV3D_MEMORY_HOST` (default).
    int32_t memory;
    // Number of points; 0 is fine and gives an empty result.
    uint64_t count;
    // `[count, 3]` positions, F32 or F64.
    struct ov3d_strided_view positions;
    // `[count, 3]` colours, U8 (0-255) or F32 (0-1); read by models whose input is colour, and by superpoints.
    struct ov3d_strided_view colors;
    // Metres per unit of the positions: 1 (default), 0.001 for millimetres, 0.01 for Unreal units.
    double unit_in_metres;
    // NULL (default), or 12 numbers: a row-major 3x4 transform with its translation in metres.
    const double *pose;
    // `OV3D_AXES_*`; `OV3D_AXES_RIGHT_HANDED_Z_UP` by default.
    int32_t axes;
    // Must be 0.
    uint32_t flags;
    // `[count, 3]` normals in the axes of the positions, F32 or F64, of any length and sign; zero or not finite where there
    // is none. Superpoints read them instead of estimating their own.
    struct ov3d_strided_view normals;
    // `[count]` the superpoint of each point, I32 or I64, of any value, -1 for none. They take the place of computed ones.
    struct ov3d_strided_view superpoints;
} ov3d_cloud;

// How superpoints are found: small sets of points that belong together, from positions, colours and normals alone.
// Weights are relative; -1 means the method's own, 0 switches a term off.
typedef struct ov3d_superpoint_desc {
    // Set by `ov3d_superpoint_desc_init`.
    uint32_t struct_size;
    // `OV3D_SUPERPOINTS_*`; `OV3D_SUPERPOINTS_VCCS` by default.
    int32_t method;
    // Edge of their voxels in metres; 0 (default) for twice the median distance between nearest points.
    double voxel_size;
    // Edge of a seed cell in metres, about the diameter of a superpoint; 0 (default) for 8 voxels. Not for graph.
    double seed_size;
    // Small sets of points that touch no superpoint join the nearest within this many metres; -1 (default) for half a
    // seed edge, or 3 voxels for graph; 0 for never. Not for the point cloud library's.
    double stray_reach;
    // Weight of distance in space; -1 (default).
    float spatial_weight;
    // Weight of distance in colour; -1 (default).
    float color_weight;
    // Weight of the angle between normals; -1 (default).
    float normal_weight;
    // Weight of steps between surfaces, for graph; -1 (default).
    float step_weight;
    // Weight of the network's own features, for graph within a segmentation; 0 (default) leaves them out.
    float feature_weight;
    // When graph ends: small for many superpoints; -1 (default) for 0.1. Not read with a `count`.
    float scale;
    // The number of superpoints that graph is to find; 0 (default) to go by `scale`.
    uint32_t count;
    // Superpoints of fewer voxels join a neighbour, for graph; 3 by default.
    uint32_t least_voxels;
    // Most rounds of growing; 0 (default) for the published number. Not for graph.
    uint32_t rounds;
    // How often to begin again from what has grown; 0 by default. Not for graph.
    uint32_t refinements;
    // Threads of `ov3d_superpoints`; 0 (default) for all of the machine's. A segmentation uses its session's.
    uint32_t threads;
    // Must be 0.
    uint32_t flags;
} ov3d_superpoint_desc;

// The result of a segmentation: pending until it is ready, then read-only for any thread. It outlives its session.
typedef struct ov3d_result_s *ov3d_result;

// A progress callback: the fraction done and the descriptor's user data. Return 0 to go on, anything else to stop the run
// with `OV3D_ERROR_CANCELLED`. It is called from a thread of the library, must not call the library and must not throw.
typedef int32_t (*ov3d_progress_fn)(float fraction, void *user_data);

// What a segmentation computes; the defaults are one deterministic pass with the published raw scores.
typedef struct ov3d_segment_desc {
    // Set by `ov3d_segment_desc_init`.
    uint32_t struct_size;
    // `OV3D_OUTPUT_*` flags; labels and scores are always returned.
    uint32_t outputs;
    // `OV3D_SIMILARITY_DOT` (default) or `OV3D_SIMILARITY_COSINE`.
    int32_t similarity;
    // 0 (default) for plain scores; otherwise scores become `softmax(score / temperature)` over the labels.
    float temperature;
    // How many best labels to return per point; 0 and 1 both mean the best alone.
    uint32_t top_k;
    // `OV3D_GRID_MINIMUM` (default) or `OV3D_GRID_WORLD`.
    int32_t grid_origin;
    // `OV3D_REPRESENTATIVE_FIRST` (default) or `OV3D_REPRESENTATIVE_CANONICAL`; matters for colour input only.
    int32_t representative;
    // Passes under random rotation and scale whose scores are averaged (published evaluation: 5); 0 (default) for one plain
    // pass. With repeats no output flag may be set.
    uint32_t repeats;
    // Seed of the repeats.
    uint64_t seed;
    // Largest rotation about x, y and z in radians, for the repeats; published: pi/64, pi/64, pi.
    double rotation[3];
    // Smallest and largest scale, for the repeats; published: 0.9 and 1.1.
    double scale[2];
    // Edge of a voxel in metres; 0 (default) for the model's own.
    double voxel_size;
    // The caller's own buffer for labels, or NULL. Clouds of a batch follow one another.
    int32_t *labels;
    // Elements that `labels` holds; at least the number of points.
    uint64_t labels_capacity;
    // The caller's own buffer for scores, or NULL.
    float *scores;
    // Elements that `scores` holds; at least the number of points.
    uint64_t scores_capacity;
    // Progress callback, or NULL.
    ov3d_progress_fn progress;
    // Handed to the progress callback.
    void *user_data;
    // How superpoints are found, or NULL (default) for none unless `vote` needs some, then with their defaults. Ids that a
    // cloud brings take their place. With features asked for, their means over the superpoints are returned too. The session's
    // memory budget does not count what superpoints take.
    const struct ov3d_superpoint_desc *superpoints;
    // `OV3D_VOTE_NONE` (default), `OV3D_VOTE_LABELS` or `OV3D_VOTE_SCORES`. Ties go to the smaller label; points without
    // superpoint keep theirs. By scores, a superpoint whose best mean score is below the vocabulary's `other_threshold`
    // gets its `other_label`. Scores and `top_labels` stay each point's own.
    int32_t vote;
    // `OV3D_VOTE_WEIGHT_ONE` (default) or `OV3D_VOTE_WEIGHT_MARGIN`.
    int32_t vote_weight;
} ov3d_segment_desc;

// Where and how a session runs.
typedef struct ov3d_session_desc {
    // Set by `ov3d_session_desc_init`.
    uint32_t struct_size;
    // Device index; 0 (default) is the CPU, CUDA devices follow (`ov3d_device_info_get`).
    uint32_t device;
    // Threads of the session's own pool; 0 (default) for all of the machine's. CUDA sessions have one.
    uint32_t threads;
    // Must be 0.
    uint32_t flags;
    // Most bytes of working memory a call may need, beyond the model; 0 (default) for no limit. A call that needs more
    // is `OV3D_ERROR_BUDGET` and names the bytes.
    uint64_t memory_budget;
    // `OV3D_PRECISION_DEFAULT` (default), `OV3D_PRECISION_F32` or `OV3D_PRECISION_BF16`; CUDA devices compute in FP16 and
    // take the default only.
    int32_t precision;
    // Must be 0.
    uint32_t reserved;
} ov3d_session_desc;

// A session's memory and threads.
typedef struct ov3d_session_info {
    // Set by `ov3d_session_info_init`.
    uint32_t struct_size;
    // Device index.
    uint32_t device;
    // Threads of the session's pool.
    uint32_t threads;
    // Zero.
    uint32_t reserved;
    // Bytes of working memory held now, for the next call to use.
    uint64_t bytes_in_use;
    // The most that any call of the session needed, or the session held after it.
    uint64_t bytes_peak;
    // The memory budget; 0 without.
    uint64_t bytes_capacity;
} ov3d_session_info;

// One model on one device with scratch memory and a vocabulary. One call at a time: a second one is `OV3D_ERROR_BUSY`.
typedef struct ov3d_session_s *ov3d_session;

// The contents of a result. The pointers live until the result is freed; what was not asked for is NULL, and so is an
// array of no rows.
typedef struct ov3d_result_view {
    // Set by `ov3d_result_view_init`.
    uint32_t struct_size;
    // Where the arrays lie: `OV3D_MEMORY_HOST`.
    int32_t memory;
    // Number of points.
    uint64_t points;
    // Number of voxels; 0 after augmented passes.
    uint64_t voxels;
    // Number of labels of the vocabulary.
    uint32_t label_count;
    // Labels per point in `top_labels`.
    uint32_t top_k;
    // Width of `features`; 0 without.
    uint32_t feature_dim;
    // Zero.
    uint32_t reserved;
    // `[points]` the best label of each point, or `OV3D_LABEL_NONE`.
    const int32_t *labels;
    // `[points]` its score; 0 without a label.
    const float *scores;
    // `[points, top_k]` the best labels, best first; NULL unless `top_k` is at least 2.
    const int32_t *top_labels;
    // `[points, top_k]` their scores.
    const float *top_scores;
    // `[points]` the voxel of each point, or -1; NULL after augmented passes.
    const int32_t *voxel_of_point;
    // `[voxels, 3]` voxel coordinates.
    const int32_t *coordinates;
    // `[voxels, feature_dim]` features as IEEE half floats, if asked for.
    const uint16_t *features;
    // `[voxels, label_count]` scores, if asked for.
    const float *logits;
    // Number of superpoints.
    uint64_t superpoint_count;
    // Number of pairs in `superpoint_adjacency`.
    uint64_t superpoint_pairs;
    // `[points]` the superpoint of each point, counted from 0 without holes, or -1; NULL unless they or a vote were asked for.
    const int32_t *superpoints;
    // `[superpoint_count]` the number of points of each.
    const uint32_t *superpoint_sizes;
    // `[superpoint_count, 3]` their mean positions in metres, right-handed with z up, after the cloud's pose.
    const double *superpoint_centroids;
    // `[superpoint_pairs, 2]` which touch, the smaller first, ascending; NULL for superpoints that the cloud brought.
    const uint32_t *superpoint_adjacency;
    // `[superpoint_count, feature_dim]` the mean features of their points as IEEE half floats, if features were asked for.
    const uint16_t *superpoint_features;
} ov3d_result_view;

// What a run took, in milliseconds. Clouds of one batch share the times of their run.
typedef struct ov3d_timings {
    // Set by `ov3d_timings_init`.
    uint32_t struct_size;
    // Zero.
    uint32_t reserved;
    // All stages together.
    double total;
    // Points to voxels.
    double quantise;
    // Coarser levels.
    double levels;
    // Neighbours.
    double kernel_maps;
    // The network's layers.
    double network;
    // Scores, labels, and back to points.
    double head;
    // Text-space features.
    double features;
    // Floating-point operations that the result needed, in billions.
    double gflop;
    // Superpoints.
    double superpoints;
    // Votes.
    double vote;
} ov3d_timings;

// The call succeeded.
#define OV3D_OK 0

// An argument's value is outside what the function accepts.
#define OV3D_ERROR_INVALID_ARGUMENT -100

// Two arguments that must agree in size or kind do not.
#define OV3D_ERROR_MISMATCH -101

// A coordinate lies outside the range that voxel keys can hold.
#define OV3D_ERROR_OUT_OF_RANGE -102

// The object lacks something the call needs, such as a vocabulary.
#define OV3D_ERROR_INVALID_STATE -103

// A handle is stale, foreign or of another kind.
#define OV3D_ERROR_INVALID_HANDLE -104

// A descriptor's `struct_size` is not one this library can read: call the descriptor's `_init` function first.
#define OV3D_ERROR_STRUCT_SIZE -105

// An output buffer is too small; the message names the size needed.
#define OV3D_ERROR_CAPACITY -106

// A file could not be opened, read or written.
#define OV3D_ERROR_IO -200

// A file is damaged or is not of the expected format.
#define OV3D_ERROR_FORMAT -201

// A file, or a request, is well-formed but of a kind this library does not know.
#define OV3D_ERROR_UNSUPPORTED -202

// Memory for a buffer whose size depends on the input could not be had.
#define OV3D_ERROR_OUT_OF_MEMORY -300

// The run needs more memory than the session's budget.
#define OV3D_ERROR_BUDGET -301

// The caller asked to stop.
#define OV3D_ERROR_CANCELLED -400

// Another call on the same session is in flight.
#define OV3D_ERROR_BUSY -401

// The result was not ready in time.
#define OV3D_ERROR_TIMEOUT -402

// A device or its driver failed; the message holds the driver's own. Sessions on the device are to be freed; those on
// other devices go on.
#define OV3D_ERROR_DEVICE -500

// A defect of this library; free the object concerned and report the message.
#define OV3D_ERROR_INTERNAL -900

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Number of the binary interface of the loaded library; compare with `OV3D_ABI_VERSION`. Any thread.
uint32_t ov3d_abi_version(void);

// Version of the loaded library, such as `"0.1.0"`. Static, never NULL. Any thread.
const char *ov3d_version(void);

// Name of a status, such as `"OV3D_ERROR_BUSY"`; `"OV3D_ERROR_UNKNOWN"` for numbers that are none. Static, never
// NULL. Any thread.
const char *ov3d_status_name(ov3d_status status);

// 1 if the objects concerned can go on being used after `status`, 0 after `OV3D_ERROR_INTERNAL` (free the object) or an
// unknown number. Any thread.
int32_t ov3d_status_is_recoverable(ov3d_status status);

// Copies the message of this thread's last error to `buffer`, cut to `capacity` bytes at a character's end and always
// NUL-terminated when `capacity` is not 0. Returns the bytes that the whole message needs, with its NUL: 1 after a call
// that succeeded. `buffer` may be NULL when `capacity` is 0. The message names the argument, its value, the limit and
// the cure. Functions that return no status leave the message alone. Thread-local.
size_t ov3d_last_error(char *buffer, size_t capacity);

// Fills at most `size` bytes of `desc` with defaults and sets `struct_size`; pass `sizeof(ov3d_log_desc)`.
void ov3d_log_desc_init(struct ov3d_log_desc *desc, size_t size);

// Sets where messages go; `desc` NULL is silent (the default). After it returns no callback set before is running or will
// be called. Any thread, but not from within a log callback (`OV3D_ERROR_INVALID_STATE`).
ov3d_status ov3d_log_set(const struct ov3d_log_desc *desc);

// Fills at most `size` bytes of `info` with defaults and sets `struct_size`; pass `sizeof(ov3d_device_info)`.
void ov3d_device_info_init(struct ov3d_device_info *info, size_t size);

// Writes the number of devices to `count`: the CPU, then the CUDA devices in the driver's order. Where none of these can be
// reached one entry stands for them and tells why (no driver, a driver that is too old, a library without device code).
// The first call looks for the driver; the list then stays as it is. Any thread.
ov3d_status ov3d_device_count(uint32_t *count);

// Describes device `device`, counted from 0. Any thread.
ov3d_status ov3d_device_info_get(uint32_t device, struct ov3d_device_info *info);

// Fills at most `size` bytes of `desc` with defaults and sets `struct_size`; pass `sizeof(ov3d_model_desc)`.
void ov3d_model_desc_init(struct ov3d_model_desc *desc, size_t size);

// Fills at most `size` bytes of `info` with defaults and sets `struct_size`; pass `sizeof(ov3d_model_info)`.
void ov3d_model_info_init(struct ov3d_model_info *info, size_t size);

// Reads the model file at `path` (UTF-8). `desc` NULL means defaults. On success `*model` is a handle that the caller
// owns; on failure it is untouched. Statuses: `OV3D_ERROR_IO`, `OV3D_ERROR_FORMAT`, `OV3D_ERROR_UNSUPPORTED`,
// `OV3D_ERROR_OUT_OF_MEMORY`. Any thread.
ov3d_status ov3d_model_load(const char *path, const struct ov3d_model_desc *desc, ov3d_model *model);

// Reads a model file of `size` bytes from memory; the bytes are copied. Otherwise as `ov3d_model_load`.
ov3d_status ov3d_model_load_memory(const void *bytes,
                                   size_t size,
                                   const struct ov3d_model_desc *desc,
                                   ov3d_model *model);

// Describes `model`. Any thread.
ov3d_status ov3d_model_info_get(ov3d_model model, struct ov3d_model_info *info);

// Frees `model`. NULL is fine; a stale handle is a line in the log. Sessions made from it go on working.
void ov3d_model_free(ov3d_model model);

// Fills at most `size` bytes of `desc` with defaults and sets `struct_size`; pass `sizeof(ov3d_text_encoder_desc)`.
void ov3d_text_encoder_desc_init(struct ov3d_text_encoder_desc *desc, size_t size);

// Fills at most `size` bytes of `info` with defaults and sets `struct_size`; pass `sizeof(ov3d_text_encoder_info)`.
void ov3d_text_encoder_info_init(struct ov3d_text_encoder_info *info, size_t size);

// Reads a CLIP text model in Hugging Face's safetensors layout (`text_model.*`, `text_projection.weight`). `path` (UTF-8)
// is the file, or the folder of `model.safetensors`; `config.json` beside it is read if there is one. `desc` NULL means
// defaults. On success `*encoder` is a handle that the caller owns; on failure it is untouched. Statuses:
// `OV3D_ERROR_IO`, `OV3D_ERROR_FORMAT`, `OV3D_ERROR_UNSUPPORTED`, `OV3D_ERROR_OUT_OF_MEMORY`. Any thread.
ov3d_status ov3d_text_encoder_load(const char *path,
                                   const struct ov3d_text_encoder_desc *desc,
                                   ov3d_text_encoder *encoder);

// Describes `encoder`. Any thread.
ov3d_status ov3d_text_encoder_info_get(ov3d_text_encoder encoder, struct ov3d_text_encoder_info *info);

// Writes the embeddings of `count` UTF-8 texts, as they are, to `out[0..count * dim]`: rows of unit length. `capacity` is
// what `out` holds, in floats; `OV3D_ERROR_CAPACITY` names what is needed. A text's embedding has the same bits whatever
// texts are encoded beside it. Any thread, several at once.
ov3d_status ov3d_text_encoder_encode(ov3d_text_encoder encoder,
                                     const char *const *texts,
                                     size_t count,
                                     float *out,
                                     size_t capacity);

// Frees `encoder`. NULL is fine; a stale handle is a line in the log. Vocabularies made with it go on working.
void ov3d_text_encoder_free(ov3d_text_encoder encoder);

// Fills at most `size` bytes of `desc` with defaults and sets `struct_size`; pass `sizeof(ov3d_vocabulary_desc)`.
void ov3d_vocabulary_desc_init(struct ov3d_vocabulary_desc *desc, size_t size);

// A vocabulary of `count` rows of `dim` floats with `count` UTF-8 names. Everything is copied; rows are brought to unit
// length. On success `*vocabulary` is a handle that the caller owns. Statuses: `OV3D_ERROR_INVALID_ARGUMENT` (a NULL, a
// row of zero length or not finite), `OV3D_ERROR_OUT_OF_MEMORY`. Any thread.
ov3d_status ov3d_vocabulary_from_embeddings(const float *embeddings,
                                            size_t count,
                                            size_t dim,
                                            const char *const *names,
                                            const struct ov3d_vocabulary_desc *desc,
                                            ov3d_vocabulary *vocabulary);

// A vocabulary of `count` UTF-8 texts in the encoder's text space: names that go into the published template, or what
// `desc` says. On success `*vocabulary` is a handle that the caller owns. Statuses: `OV3D_ERROR_INVALID_ARGUMENT` (a
// NULL, a text of too many tokens, a template without `{}`), `OV3D_ERROR_OUT_OF_MEMORY`. Any thread.
ov3d_status ov3d_vocabulary_from_texts(ov3d_text_encoder encoder,
                                       const char *const *texts,
                                       size_t count,
                                       const struct ov3d_vocabulary_desc *desc,
                                       ov3d_vocabulary *vocabulary);

// A vocabulary of the published label set `name` with its prompts, in the encoder's text space: `"scannet20"`,
// `"scannet200"`, `"matterport21"`, `"matterport40"`, `"matterport80"`, `"matterport160"`, `"nuscenes16"` or `"replica"`.
// Of `desc` the templates, the flags and the label of other points count. Otherwise as `ov3d_vocabulary_from_texts`.
ov3d_status ov3d_vocabulary_from_preset(ov3d_text_encoder encoder,
                                        const char *name,
                                        const struct ov3d_vocabulary_desc *desc,
                                        ov3d_vocabulary *vocabulary);

// A vocabulary of `count` UTF-8 names of labels of `source`, with their embeddings: words without a text encoder, such as
// some of the 1,412 of `share/openvocab3d/vit-b-32.safetensors`, which is installed with the library for models whose text
// space is `"clip-vit-b32"`. Letters of either case count as equal. Of `desc` `label_of_row` and the label of other points
// count. On success `*vocabulary` is a handle that the caller owns. Statuses: `OV3D_ERROR_INVALID_ARGUMENT` (a NULL; a
// name that `source` does not have: the message has the names most like it), `OV3D_ERROR_OUT_OF_MEMORY`. Any thread.
ov3d_status ov3d_vocabulary_from_names(ov3d_vocabulary source,
                                       const char *const *names,
                                       size_t count,
                                       const struct ov3d_vocabulary_desc *desc,
                                       ov3d_vocabulary *vocabulary);

// Reads the vocabulary file at `path` (UTF-8). On success `*vocabulary` is a handle that the caller owns. Statuses:
// `OV3D_ERROR_IO`, `OV3D_ERROR_FORMAT`, `OV3D_ERROR_UNSUPPORTED`, `OV3D_ERROR_OUT_OF_MEMORY`. Any thread.
ov3d_status ov3d_vocabulary_load(const char *path, ov3d_vocabulary *vocabulary);

// Reads a vocabulary file of `size` bytes from memory; the bytes are copied. Otherwise as `ov3d_vocabulary_load`.
ov3d_status ov3d_vocabulary_load_memory(const void *bytes, size_t size, ov3d_vocabulary *vocabulary);

// Writes `vocabulary` to a file at `path` (UTF-8), which `ov3d_vocabulary_load` reads. Any thread.
ov3d_status ov3d_vocabulary_save(ov3d_vocabulary vocabulary, const char *path);

// Number of labels; 0 for a handle that is not live. Any thread.
size_t ov3d_vocabulary_size(ov3d_vocabulary vocabulary);

// Name of label `label` as UTF-8; NULL if there is no such label or the handle is not live. Lives until the vocabulary is
// freed. Any thread.
const char *ov3d_vocabulary_name(ov3d_vocabulary vocabulary,
                                 size_t label);

// Frees `vocabulary`. NULL is fine; a stale handle is a line in the log. Sessions that use it go on working.
void ov3d_vocabulary_free(ov3d_vocabulary vocabulary);

// Fills at most `size` bytes of `cloud` with defaults and sets `struct_size`; pass `sizeof(ov3d_cloud)`.
void ov3d_cloud_init(struct ov3d_cloud *cloud, size_t size);

// Fills at most `size` bytes of `desc` with defaults and sets `struct_size`; pass `sizeof(ov3d_superpoint_desc)`.
void ov3d_superpoint_desc_init(struct ov3d_superpoint_desc *desc, size_t size);

// Finds the superpoints of `cloud` without model or session; `desc` NULL means defaults, and ids that the cloud brings are
// taken as they are. On success `*result` is a ready result that the caller owns, with the number of points and what
// `ov3d_result_view` has about superpoints; everything else in it is absent. Statuses: `OV3D_ERROR_INVALID_ARGUMENT`,
// `OV3D_ERROR_MISMATCH`, `OV3D_ERROR_OUT_OF_RANGE` (extent), `OV3D_ERROR_OUT_OF_MEMORY`. Any thread, several at once.
ov3d_status ov3d_superpoints(const struct ov3d_cloud *cloud,
                             const struct ov3d_superpoint_desc *desc,
                             ov3d_result *result);

// Fills at most `size` bytes of `desc` with defaults and sets `struct_size`; pass `sizeof(ov3d_segment_desc)`.
void ov3d_segment_desc_init(struct ov3d_segment_desc *desc, size_t size);

// Fills at most `size` bytes of `desc` with defaults and sets `struct_size`; pass `sizeof(ov3d_session_desc)`.
void ov3d_session_desc_init(struct ov3d_session_desc *desc, size_t size);

// Fills at most `size` bytes of `info` with defaults and sets `struct_size`; pass `sizeof(ov3d_session_info)`.
void ov3d_session_info_init(struct ov3d_session_info *info, size_t size);

// A session of `model`; `desc` NULL means defaults. On success `*session` is a handle that the caller owns. Statuses:
// `OV3D_ERROR_INVALID_ARGUMENT`, `OV3D_ERROR_UNSUPPORTED` (a device that cannot be used, with the reason),
// `OV3D_ERROR_OUT_OF_MEMORY`, `OV3D_ERROR_DEVICE`. Any thread.
ov3d_status ov3d_session_create(ov3d_model model, const struct ov3d_session_desc *desc, ov3d_session *session);

// Sets the labels of the calls that follow; on failure those set before stay. `OV3D_ERROR_MISMATCH` if the vocabulary has
// no embeddings in the model's text space; `OV3D_ERROR_BUSY` during a call. One thread at a time.
ov3d_status ov3d_session_set_vocabulary(ov3d_session session,
                                        ov3d_vocabulary vocabulary);

// Describes the session's memory and threads, as they were after its last call. Any thread, also during a call.
ov3d_status ov3d_session_info_get(ov3d_session session, struct ov3d_session_info *info);

// Labels every point of `cloud`: `ov3d_segment_begin` and `ov3d_result_wait` in one. `desc` NULL means defaults. On
// success `*result` is a ready result that the caller owns; on failure it is untouched. Statuses: those of its arguments,
// `OV3D_ERROR_INVALID_STATE` (no vocabulary), `OV3D_ERROR_OUT_OF_RANGE` (extent), `OV3D_ERROR_OUT_OF_MEMORY`,
// `OV3D_ERROR_BUDGET`, `OV3D_ERROR_CANCELLED`, `OV3D_ERROR_BUSY`, `OV3D_ERROR_DEVICE`. One thread at a time.
ov3d_status ov3d_segment(ov3d_session session,
                         const struct ov3d_cloud *cloud,
                         const struct ov3d_segment_desc *desc,
                         ov3d_result *result);

// Starts labelling `cloud` on the session's own threads and returns at once with a pending result. The cloud and what the
// descriptor points to must stay valid until the result is ready. Otherwise as `ov3d_segment`, whose later statuses
// `ov3d_result_wait` returns.
ov3d_status ov3d_segment_begin(ov3d_session session,
                               const struct ov3d_cloud *cloud,
                               const struct ov3d_segment_desc *desc,
                               ov3d_result *result);

// Labels `count` clouds in one run; they do not influence one another. On success `results[0..count]` are ready results
// that the caller owns; on failure none is touched. Otherwise as `ov3d_segment`.
ov3d_status ov3d_segment_batch(ov3d_session session,
                               const struct ov3d_cloud *clouds,
                               size_t count,
                               const struct ov3d_segment_desc *desc,
                               ov3d_result *results);

// Scores a ready result anew for `vocabulary`, without running the network: it must have been made with
// `OV3D_OUTPUT_QUERYABLE` by a session of the same model. Of `desc` the fields about scores and
// the vote count, which needs a result with superpoints. On success `*out_result`
// is a ready result that the caller owns. One thread at a time.
ov3d_status ov3d_session_query(ov3d_session session,
                               ov3d_result result,
                               ov3d_vocabulary vocabulary,
                               const struct ov3d_segment_desc *desc,
                               ov3d_result *out_result);

// Asks the call in flight, if any, to stop: it ends with `OV3D_ERROR_CANCELLED` within some 20 ms of work. The one session
// function allowed from another thread during a call.
ov3d_status ov3d_session_cancel(ov3d_session session);

// Frees `session`. In flight, it cancels the call and waits for its end. NULL is fine; a stale handle is a line in the
// log. Results live on.
void ov3d_session_free(ov3d_session session);

// Fills at most `size` bytes of `view` with defaults and sets `struct_size`; pass `sizeof(ov3d_result_view)`.
void ov3d_result_view_init(struct ov3d_result_view *view, size_t size);

// Fills at most `size` bytes of `timings` with defaults and sets `struct_size`; pass `sizeof(ov3d_timings)`.
void ov3d_timings_init(struct ov3d_timings *timings, size_t size);

// Waits until `result` is ready, at most `timeout_ns` nanoseconds (UINT64_MAX: without limit). Returns the status of the
// run, or `OV3D_ERROR_TIMEOUT`. Any thread, several at once.
ov3d_status ov3d_result_wait(ov3d_result result,
                             uint64_t timeout_ns);

// 1 if the run has ended, well or not; 0 while it is in flight or if the handle is not live. Any thread.
int32_t ov3d_result_ready(ov3d_result result);

// Lends out the contents of a ready result. Before that `OV3D_ERROR_INVALID_STATE`; of a failed run its status. Any
// thread.
ov3d_status ov3d_result_get(ov3d_result result, struct ov3d_result_view *view);

// What the run of a ready result took. Any thread.
ov3d_status ov3d_result_timings_get(ov3d_result result, struct ov3d_timings *timings);

// Frees `result`. In flight, it cancels the run and waits until the run no longer touches the caller's memory, at most
// some 20 ms. NULL is fine; a stale handle is a line in the log.
void ov3d_result_free(ov3d_result result);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* OPENVOCAB3D_H */

#ifndef OPENVOCAB3D_INLINE_H
#define OPENVOCAB3D_INLINE_H

#ifdef __cplusplus
extern "C" {
#endif

/* The common case: count packed x y z floats in metres, z up. */
static inline ov3d_cloud ov3d_cloud_xyz(const float *positions, size_t count) {
    ov3d_cloud cloud;
    ov3d_cloud_init(&cloud, sizeof cloud);
    cloud.count = count;
    cloud.positions.data = positions;
    cloud.positions.stride_bytes = 12;
    cloud.positions.dtype = OV3D_DTYPE_F32;
    cloud.positions.components = 3;
    return cloud;
}

#ifdef __cplusplus
}
#endif

#endif /* OPENVOCAB3D_INLINE_H */
