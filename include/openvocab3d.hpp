// openvocab3d.hpp - C++17 over openvocab3d.h: handles that free themselves, errors as values, clouds from containers.
//
// Header-only, over the C interface alone, so it fits any compiler and standard library. It needs neither exceptions
// nor RTTI. Functions that can fail return ov3d::Status or ov3d::Expected<T>; both hold the library's message:
//
//     auto model = ov3d::Model::load("model.safetensors");
//     if (!model) return fail(model.status().message());
//
// Where exceptions are enabled, ov3d::or_throw(...) turns either into a value or an ov3d::Exception:
//
//     ov3d::Model model = ov3d::or_throw(ov3d::Model::load("model.safetensors"));
//
// openvocab3d.h is the manual: what it says about threads, lifetimes and statuses holds here.

#ifndef OPENVOCAB3D_HPP
#define OPENVOCAB3D_HPP

#include "openvocab3d.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__cpp_exceptions)
#include <stdexcept>
#endif

namespace ov3d {

// ---------------------------------------------------------------------------------------------------------- statuses

// A status with the message that goes with it.
class [[nodiscard]] Status {
public:
    Status() = default;
    Status(ov3d_status code, std::string message) : code_(code), message_(std::move(message)) {}

    // The status of a call that this thread has just made.
    static Status of(ov3d_status code) { return code == OV3D_OK ? Status() : Status(code, last_error()); }

    bool ok() const { return code_ == OV3D_OK; }
    explicit operator bool() const { return ok(); }
    ov3d_status code() const { return code_; }
    const char *name() const { return ov3d_status_name(code_); }
    const std::string &message() const { return message_; }
    // Whether the objects concerned can go on being used.
    bool recoverable() const { return ov3d_status_is_recoverable(code_) != 0; }

private:
    static std::string last_error() {
        std::string text(ov3d_last_error(nullptr, 0), '\0');
        ov3d_last_error(&text[0], text.size());
        text.pop_back(); // its NUL
        return text;
    }

    ov3d_status code_ = OV3D_OK;
    std::string message_;
};

// A value, or the status that says why there is none.
template <typename T>
class [[nodiscard]] Expected {
public:
    Expected(T value) : value_(std::move(value)) {}
    Expected(Status status) : status_(std::move(status)) {}

    bool ok() const { return status_.ok(); }
    explicit operator bool() const { return ok(); }
    const Status &status() const { return status_; }

    // The value; empty where there is none.
    T &operator*() & { return value_; }
    const T &operator*() const & { return value_; }
    T &&operator*() && { return std::move(value_); }
    T *operator->() { return &value_; }
    const T *operator->() const { return &value_; }

private:
    T value_{};
    Status status_;
};

#if defined(__cpp_exceptions)

// A status as an exception.
class Exception : public std::runtime_error {
public:
    explicit Exception(const Status &status) : std::runtime_error(status.message()), code_(status.code()) {}
    ov3d_status code() const { return code_; }

private:
    ov3d_status code_;
};

inline void or_throw(const Status &status) {
    if (!status) {
        throw Exception(status);
    }
}

template <typename T>
T or_throw(Expected<T> expected) {
    or_throw(expected.status());
    return *std::move(expected);
}

#endif

// Whether the loaded library serves programs built against this header. Every function that loads a model or makes a
// vocabulary asks this itself.
inline Status compatible() {
    if (ov3d_abi_version() >= OV3D_ABI_VERSION) {
        return Status();
    }
    return Status(OV3D_ERROR_UNSUPPORTED, "the loaded libopenvocab3d " + std::string(ov3d_version()) +
                                              " has interface number " + std::to_string(ov3d_abi_version()) +
                                              ", older than the header's " + std::to_string(OV3D_ABI_VERSION) +
                                              "; install the library that came with the header");
}

namespace detail {

// The object whose handle `call` writes.
template <typename T, typename Call>
Expected<T> made(Call call) {
    decltype(std::declval<T &>().get()) handle = nullptr;
    Status status = Status::of(call(&handle));
    if (!status) {
        return status;
    }
    return T(handle);
}

// The same for the functions that a program calls first.
template <typename T, typename Call>
Expected<T> first(Call call) {
    Status status = compatible();
    if (!status) {
        return status;
    }
    return made<T>(call);
}

inline std::vector<const char *> pointers(const std::vector<std::string> &texts) {
    std::vector<const char *> pointers;
    for (const std::string &text : texts) {
        pointers.push_back(text.c_str());
    }
    return pointers;
}

// A descriptor with its defaults.
template <typename T, void (*Init)(T *, std::size_t)>
T initialised() {
    T value;
    Init(&value, sizeof value);
    return value;
}

// The struct that `call` fills in.
template <typename T, void (*Init)(T *, std::size_t), typename Call>
Expected<T> filled(Call call) {
    T value = initialised<T, Init>();
    Status status = Status::of(call(&value));
    if (!status) {
        return status;
    }
    return value;
}

} // namespace detail

// ------------------------------------------------------------------------------------------------- spans and options

// A pointer and a size: memory that somebody else owns.
template <typename T>
class Span {
public:
    constexpr Span() = default;
    constexpr Span(T *data, std::size_t size) : data_(data), size_(size) {}
    // From anything with data() and size(), such as a std::vector; a temporary serves as an argument.
    template <typename C,
              typename = std::enable_if_t<std::is_convertible<decltype(std::declval<C &>().data()), T *>::value>>
    constexpr Span(C &&container) : data_(container.data()), size_(container.size()) {}

    constexpr T *data() const { return data_; }
    constexpr std::size_t size() const { return size_; }
    constexpr bool empty() const { return size_ == 0; }
    constexpr T *begin() const { return data_; }
    constexpr T *end() const { return data_ + size_; }
    constexpr T &operator[](std::size_t index) const { return data_[index]; }

private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

// Descriptors with their defaults, to be changed and handed on.
inline ov3d_session_desc session_options() { return detail::initialised<ov3d_session_desc, ov3d_session_desc_init>(); }
inline ov3d_segment_desc segment_options() { return detail::initialised<ov3d_segment_desc, ov3d_segment_desc_init>(); }
inline ov3d_superpoint_desc superpoint_options() {
    return detail::initialised<ov3d_superpoint_desc, ov3d_superpoint_desc_init>();
}
inline ov3d_text_encoder_desc text_encoder_options() {
    return detail::initialised<ov3d_text_encoder_desc, ov3d_text_encoder_desc_init>();
}
inline ov3d_vocabulary_desc vocabulary_options() {
    return detail::initialised<ov3d_vocabulary_desc, ov3d_vocabulary_desc_init>();
}

// ------------------------------------------------------------------------------------------------------------ clouds

// A cloud in memory that the caller owns and keeps until the result is ready. Nothing is copied.
class Cloud {
public:
    Cloud() : cloud_(detail::initialised<ov3d_cloud, ov3d_cloud_init>()) {}

    // Any layout: `count` positions of three T (float or double), `stride_bytes` apart.
    template <typename T>
    static Cloud strided(const T *first, std::size_t count, std::size_t stride_bytes) {
        Cloud cloud;
        cloud.cloud_.count = count;
        cloud.cloud_.positions = view(first, stride_bytes);
        return cloud;
    }

    // Packed coordinates: a vector of floats or doubles, three a point.
    template <typename C>
    static Cloud packed(const C &coordinates) {
        using T = std::remove_cv_t<std::remove_reference_t<decltype(*coordinates.data())>>;
        return strided(coordinates.data(), coordinates.size() / 3, 3 * sizeof(T));
    }

    // Records with the coordinates among other members, or points that are nothing else: `of(points, &Point::x)`, where
    // y and z follow x.
    template <typename C, typename P, typename T>
    static Cloud of(const C &points, T P::*x) {
        return strided(points.size() == 0 ? nullptr : &(points.data()->*x), points.size(), sizeof(P));
    }

    // The points must outlive the call, so temporaries are refused.
    template <typename C>
    static Cloud packed(const C &&) = delete;
    template <typename C, typename P, typename T>
    static Cloud of(const C &&, T P::*) = delete;

    // Colours of three T (std::uint8_t of 0-255, or float of 0-1), `stride_bytes` apart; for models that read them.
    template <typename T>
    Cloud &colors(const T *first, std::size_t stride_bytes = 3 * sizeof(T)) {
        cloud_.colors = view(first, stride_bytes);
        return *this;
    }
    // Normals of three T (float or double), in the axes of the positions; superpoints read them instead of their own.
    template <typename T>
    Cloud &normals(const T *first, std::size_t stride_bytes = 3 * sizeof(T)) {
        cloud_.normals = view(first, stride_bytes);
        return *this;
    }
    // The superpoint of each point, a number of any value, -1 for none; they take the place of computed ones.
    template <typename T>
    Cloud &superpoints(const T *first, std::size_t stride_bytes = sizeof(T)) {
        static_assert(std::is_same<T, std::int32_t>::value || std::is_same<T, std::int64_t>::value,
                      "std::int32_t or std::int64_t");
        cloud_.superpoints.data = first;
        cloud_.superpoints.stride_bytes = stride_bytes;
        cloud_.superpoints.dtype = sizeof(T) == 8 ? OV3D_DTYPE_I64 : OV3D_DTYPE_I32;
        cloud_.superpoints.components = 1;
        return *this;
    }
    // OV3D_AXES_*.
    Cloud &axes(std::int32_t axes) {
        cloud_.axes = axes;
        return *this;
    }
    // 0.01 for Unreal's centimetres.
    Cloud &unit_in_metres(double unit) {
        cloud_.unit_in_metres = unit;
        return *this;
    }
    // 12 numbers: a row-major 3x4 transform, which the caller keeps too.
    Cloud &pose(const double *row_major_3x4) {
        cloud_.pose = row_major_3x4;
        return *this;
    }

    const ov3d_cloud *get() const { return &cloud_; }

private:
    template <typename T>
    static ov3d_strided_view view(const T *first, std::size_t stride_bytes) {
        static_assert(std::is_same<T, float>::value || std::is_same<T, double>::value ||
                          std::is_same<T, std::uint8_t>::value,
                      "float, double or std::uint8_t");
        ov3d_strided_view view = {};
        view.data = first;
        view.stride_bytes = stride_bytes;
        view.dtype = sizeof(T) == 8 ? OV3D_DTYPE_F64 : sizeof(T) == 4 ? OV3D_DTYPE_F32 : OV3D_DTYPE_U8;
        view.components = 3;
        return view;
    }

    ov3d_cloud cloud_;
};

// ----------------------------------------------------------------------------------------------------------- handles

// Owns one object of the library: moved, not copied, freed at the end.
template <typename H, void (*Free)(H)>
class Handle {
public:
    Handle() = default;
    explicit Handle(H handle) : handle_(handle) {}
    Handle(Handle &&other) noexcept : handle_(other.release()) {}
    Handle &operator=(Handle &&other) noexcept {
        H taken = other.release();
        Free(handle_); // NULL is fine
        handle_ = taken;
        return *this;
    }
    Handle(const Handle &) = delete;
    Handle &operator=(const Handle &) = delete;
    ~Handle() { Free(handle_); }

    // The C handle, still owned here.
    H get() const { return handle_; }
    // The C handle, owned by the caller from now on.
    H release() { return std::exchange(handle_, nullptr); }
    explicit operator bool() const { return handle_ != nullptr; }

private:
    H handle_ = nullptr;
};

// A trained network. Any thread; sessions keep what they use of it.
class Model : public Handle<ov3d_model, ov3d_model_free> {
public:
    using Handle::Handle;

    static Expected<Model> load(const std::string &path) {
        return detail::first<Model>([&](ov3d_model *out) { return ov3d_model_load(path.c_str(), nullptr, out); });
    }
    static Expected<Model> load_memory(Span<const unsigned char> bytes) {
        return detail::first<Model>(
            [&](ov3d_model *out) { return ov3d_model_load_memory(bytes.data(), bytes.size(), nullptr, out); });
    }
    // Its strings live as long as the model.
    Expected<ov3d_model_info> info() const {
        return detail::filled<ov3d_model_info, ov3d_model_info_init>(
            [&](ov3d_model_info *out) { return ov3d_model_info_get(get(), out); });
    }
};

// CLIP's tokeniser and a text tower. Any thread, several at once; vocabularies made with it do not need it any more.
class TextEncoder : public Handle<ov3d_text_encoder, ov3d_text_encoder_free> {
public:
    using Handle::Handle;

    // The safetensors file, or the folder of model.safetensors.
    static Expected<TextEncoder> load(const std::string &path,
                                      const ov3d_text_encoder_desc &options = text_encoder_options()) {
        return detail::first<TextEncoder>(
            [&](ov3d_text_encoder *out) { return ov3d_text_encoder_load(path.c_str(), &options, out); });
    }
    // Its string lives as long as the encoder.
    Expected<ov3d_text_encoder_info> info() const {
        return detail::filled<ov3d_text_encoder_info, ov3d_text_encoder_info_init>(
            [&](ov3d_text_encoder_info *out) { return ov3d_text_encoder_info_get(get(), out); });
    }
    // A row of unit length for every text, row after row.
    Expected<std::vector<float>> encode(const std::vector<std::string> &texts) const {
        Expected<ov3d_text_encoder_info> about = info();
        if (!about) {
            return about.status();
        }
        std::vector<float> rows(texts.size() * about->dim);
        const std::vector<const char *> pointers = detail::pointers(texts);
        Status status =
            Status::of(ov3d_text_encoder_encode(get(), pointers.data(), texts.size(), rows.data(), rows.size()));
        if (!status) {
            return status;
        }
        return rows;
    }
};

// Labels with their text embeddings. Any thread; sessions and results keep what they use of it.
class Vocabulary : public Handle<ov3d_vocabulary, ov3d_vocabulary_free> {
public:
    using Handle::Handle;

    static Expected<Vocabulary> load(const std::string &path) {
        return detail::first<Vocabulary>([&](ov3d_vocabulary *out) { return ov3d_vocabulary_load(path.c_str(), out); });
    }
    static Expected<Vocabulary> load_memory(Span<const unsigned char> bytes) {
        return detail::first<Vocabulary>(
            [&](ov3d_vocabulary *out) { return ov3d_vocabulary_load_memory(bytes.data(), bytes.size(), out); });
    }
    // One row of embeddings for every name, row after row.
    static Expected<Vocabulary> from_embeddings(Span<const float> embeddings, const std::vector<std::string> &names,
                                                const ov3d_vocabulary_desc &options = vocabulary_options()) {
        const std::size_t rows = names.size(), dim = names.empty() ? 0 : embeddings.size() / rows;
        if (dim * rows != embeddings.size()) {
            return Status(OV3D_ERROR_MISMATCH, std::to_string(embeddings.size()) + " floats do not divide into " +
                                                   std::to_string(rows) + " rows; give each name one row");
        }
        const std::vector<const char *> pointers = detail::pointers(names);
        return detail::first<Vocabulary>([&](ov3d_vocabulary *out) {
            return ov3d_vocabulary_from_embeddings(embeddings.data(), rows, dim, pointers.data(), &options, out);
        });
    }
    // Words, put into the published template unless the options say otherwise.
    static Expected<Vocabulary> from_texts(const TextEncoder &encoder, const std::vector<std::string> &texts,
                                           const ov3d_vocabulary_desc &options = vocabulary_options()) {
        const std::vector<const char *> pointers = detail::pointers(texts);
        return detail::first<Vocabulary>([&](ov3d_vocabulary *out) {
            return ov3d_vocabulary_from_texts(encoder.get(), pointers.data(), texts.size(), &options, out);
        });
    }
    // A published label set, such as "scannet20".
    static Expected<Vocabulary> from_preset(const TextEncoder &encoder, const std::string &name,
                                            const ov3d_vocabulary_desc &options = vocabulary_options()) {
        return detail::first<Vocabulary>([&](ov3d_vocabulary *out) {
            return ov3d_vocabulary_from_preset(encoder.get(), name.c_str(), &options, out);
        });
    }
    // Some of the labels of `source`, by name.
    static Expected<Vocabulary> from_names(const Vocabulary &source, const std::vector<std::string> &names,
                                           const ov3d_vocabulary_desc &options = vocabulary_options()) {
        const std::vector<const char *> pointers = detail::pointers(names);
        return detail::first<Vocabulary>([&](ov3d_vocabulary *out) {
            return ov3d_vocabulary_from_names(source.get(), pointers.data(), names.size(), &options, out);
        });
    }
    Status save(const std::string &path) const { return Status::of(ov3d_vocabulary_save(get(), path.c_str())); }
    // Number of labels.
    std::size_t size() const { return ov3d_vocabulary_size(get()); }
    // Name of a label, which lives as long as the vocabulary; "" for OV3D_LABEL_NONE and other numbers that are none.
    const char *name(std::int32_t label) const {
        const char *name = label < 0 ? nullptr : ov3d_vocabulary_name(get(), static_cast<std::size_t>(label));
        return name == nullptr ? "" : name;
    }
};

// The arrays of a result: they live as long as it does, and what was not asked for is empty.
struct ResultView {
    Span<const std::int32_t> labels;         // [points] OV3D_LABEL_NONE where the position is not finite
    Span<const float> scores;                // [points]
    Span<const std::int32_t> top_labels;     // [points, top_k]
    Span<const float> top_scores;            // [points, top_k]
    Span<const std::int32_t> voxel_of_point; // [points]
    Span<const std::int32_t> coordinates;    // [voxels, 3]
    Span<const std::uint16_t> features;      // [voxels, feature_dim] half floats
    Span<const float> logits;                // [voxels, label_count]
    Span<const std::int32_t> superpoints;    // [points] from 0 without holes, or -1
    Span<const std::uint32_t> superpoint_sizes;     // [superpoint_count]
    Span<const double> superpoint_centroids;        // [superpoint_count, 3] metres
    Span<const std::uint32_t> superpoint_adjacency; // pairs, the smaller first
    Span<const std::uint16_t> superpoint_features;  // [superpoint_count, feature_dim] half floats
    std::size_t points = 0, voxels = 0, label_count = 0, top_k = 0, feature_dim = 0, superpoint_count = 0;
};

// What a segmentation gave, or will give. Any thread once it is ready; it outlives its session.
class Result : public Handle<ov3d_result, ov3d_result_free> {
public:
    using Handle::Handle;

    // Waits until the run has ended, at most so long, and says how it ended.
    Status wait(std::uint64_t timeout_ns = UINT64_MAX) const { return Status::of(ov3d_result_wait(get(), timeout_ns)); }
    bool ready() const { return ov3d_result_ready(get()) != 0; }

    Expected<ResultView> view() const {
        auto got = detail::filled<ov3d_result_view, ov3d_result_view_init>(
            [&](ov3d_result_view *out) { return ov3d_result_get(get(), out); });
        if (!got) {
            return got.status();
        }
        const ov3d_result_view &c = *got;
        ResultView view;
        view.points = static_cast<std::size_t>(c.points);
        view.voxels = static_cast<std::size_t>(c.voxels);
        view.label_count = c.label_count;
        view.top_k = c.top_k;
        view.feature_dim = c.feature_dim;
        view.labels = span(c.labels, view.points);
        view.scores = span(c.scores, view.points);
        view.top_labels = span(c.top_labels, view.points * view.top_k);
        view.top_scores = span(c.top_scores, view.points * view.top_k);
        view.voxel_of_point = span(c.voxel_of_point, view.points);
        view.coordinates = span(c.coordinates, view.voxels * 3);
        view.features = span(c.features, view.voxels * view.feature_dim);
        view.logits = span(c.logits, view.voxels * view.label_count);
        view.superpoint_count = static_cast<std::size_t>(c.superpoint_count);
        view.superpoints = span(c.superpoints, view.points);
        view.superpoint_sizes = span(c.superpoint_sizes, view.superpoint_count);
        view.superpoint_centroids = span(c.superpoint_centroids, view.superpoint_count * 3);
        view.superpoint_adjacency = span(c.superpoint_adjacency, static_cast<std::size_t>(c.superpoint_pairs) * 2);
        view.superpoint_features = span(c.superpoint_features, view.superpoint_count * view.feature_dim);
        return view;
    }
    Expected<ov3d_timings> timings() const {
        return detail::filled<ov3d_timings, ov3d_timings_init>(
            [&](ov3d_timings *out) { return ov3d_result_timings_get(get(), out); });
    }

private:
    template <typename T>
    static Span<const T> span(const T *data, std::size_t size) {
        return data == nullptr ? Span<const T>() : Span<const T>(data, size);
    }
};

// The superpoints of a cloud, without model or session.
inline Expected<Result> superpoints(const Cloud &cloud, const ov3d_superpoint_desc &options = superpoint_options()) {
    return detail::made<Result>([&](ov3d_result *out) { return ov3d_superpoints(cloud.get(), &options, out); });
}

// One model on one device. One call at a time; cancel() may come from another thread.
class Session : public Handle<ov3d_session, ov3d_session_free> {
public:
    using Handle::Handle;

    static Expected<Session> create(const Model &model, const ov3d_session_desc &options = session_options()) {
        return detail::made<Session>(
            [&](ov3d_session *out) { return ov3d_session_create(model.get(), &options, out); });
    }
    Status set_vocabulary(const Vocabulary &vocabulary) const {
        return Status::of(ov3d_session_set_vocabulary(get(), vocabulary.get()));
    }
    // Labels every point and waits.
    Expected<Result> segment(const Cloud &cloud, const ov3d_segment_desc &options = segment_options()) const {
        return detail::made<Result>(
            [&](ov3d_result *out) { return ov3d_segment(get(), cloud.get(), &options, out); });
    }
    // Starts and returns at once; the cloud's memory must stay until the result is ready.
    Expected<Result> begin(const Cloud &cloud, const ov3d_segment_desc &options = segment_options()) const {
        return detail::made<Result>(
            [&](ov3d_result *out) { return ov3d_segment_begin(get(), cloud.get(), &options, out); });
    }
    // Labels several clouds in one run.
    Expected<std::vector<Result>> segment_batch(Span<const Cloud> clouds,
                                                const ov3d_segment_desc &options = segment_options()) const {
        std::vector<ov3d_cloud> structs;
        for (const Cloud &cloud : clouds) {
            structs.push_back(*cloud.get());
        }
        std::vector<ov3d_result> handles(clouds.size());
        Status status = Status::of(
            ov3d_segment_batch(get(), structs.data(), structs.size(), &options, handles.data()));
        if (!status) {
            return status;
        }
        std::vector<Result> results;
        for (ov3d_result handle : handles) {
            results.emplace_back(handle);
        }
        return results;
    }
    // Scores a result that was made with OV3D_OUTPUT_QUERYABLE for other words, without running the network.
    Expected<Result> query(const Result &result, const Vocabulary &vocabulary,
                           const ov3d_segment_desc &options = segment_options()) const {
        return detail::made<Result>([&](ov3d_result *out) {
            return ov3d_session_query(get(), result.get(), vocabulary.get(), &options, out);
        });
    }
    Status cancel() const { return Status::of(ov3d_session_cancel(get())); }
    Expected<ov3d_session_info> info() const {
        return detail::filled<ov3d_session_info, ov3d_session_info_init>(
            [&](ov3d_session_info *out) { return ov3d_session_info_get(get(), out); });
    }
};

} // namespace ov3d

#endif // OPENVOCAB3D_HPP
