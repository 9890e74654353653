// The stand-in driver: device and host memory, copies, and what pointers are.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>
#include "device.h"
#include "settings.h"
#include "stream.h"

using namespace emu;

#define STREAM(handle)                                                              \
    Stream* s = nullptr;                                                            \
    if (const Status failed_stream_ = find_stream(context, handle, s)) return failed_stream_

static int allocate(Context* context, DevicePointer* at, size_t bytes) {
    if (!at || bytes == 0) return INVALID_VALUE;
    const uint64_t start = device_allocate(bytes);
    if (start == 0) return OUT_OF_MEMORY;
    context->allocations.insert(start);
    *at = start;
    return SUCCESS;
}

static int release(DevicePointer at) {
    for (Context* c : driver().contexts)
        if (c->allocations.erase(at) != 0) {
            device_free(at);
            return SUCCESS;
        }
    return INVALID_VALUE;
}

DRIVER_CALL(cuMemAlloc_v2, DevicePointer* at, size_t bytes) {
    ENTER_CONTEXT();
    return allocate(context, at, bytes);
}

DRIVER_CALL(cuMemFree_v2, DevicePointer at) {
    ENTER_CONTEXT();
    if (at == 0) return SUCCESS;
    // The driver waits for everything that might still use it.
    drain_all(context);
    if (context->fault) return context->fault;
    return release(at);
}

DRIVER_CALL(cuMemAllocAsync, DevicePointer* at, size_t bytes, void* stream) {
    ENTER_CONTEXT();
    STREAM(stream);
    return allocate(context, at, bytes);
}

DRIVER_CALL(cuMemAllocFromPoolAsync, DevicePointer* at, size_t bytes, void*, void* stream) {
    ENTER_CONTEXT();
    STREAM(stream);
    return allocate(context, at, bytes);
}

DRIVER_CALL(cuMemFreeAsync, DevicePointer at, void* stream) {
    ENTER_CONTEXT();
    STREAM(stream);
    if (context->allocations.count(at) == 0) return INVALID_VALUE;
    enqueue(s, [=] { release(at); });
    return SUCCESS;
}

DRIVER_CALL(cuMemGetInfo_v2, size_t* free_bytes, size_t* total) {
    ENTER_CONTEXT();
    *total = settings().memory;
    *free_bytes = *total - device_used();
    return SUCCESS;
}

DRIVER_CALL(cuMemGetAddressRange_v2, DevicePointer* start, size_t* size, DevicePointer at) {
    ENTER_CONTEXT();
    uint64_t first;
    size_t bytes;
    if (!device_range(at, first, bytes)) return NOT_FOUND;
    if (start) *start = first;
    if (size) *size = bytes;
    return SUCCESS;
}

// ---- pools: one, that everything comes from

static int the_pool;
DRIVER_CALL(cuDeviceGetDefaultMemPool, void** pool, int) {
    ENTER();
    *pool = &the_pool;
    return SUCCESS;
}
DRIVER_CALL(cuDeviceGetMemPool, void** pool, int) {
    ENTER();
    *pool = &the_pool;
    return SUCCESS;
}
DRIVER_CALL(cuMemPoolSetAttribute, void* pool, int, void*) {
    ENTER();
    return pool == &the_pool ? SUCCESS : INVALID_VALUE;
}
DRIVER_CALL(cuMemPoolGetAttribute, void* pool, int, void* value) {
    ENTER();
    if (pool != &the_pool) return INVALID_VALUE;
    *static_cast<uint64_t*>(value) = device_used();
    return SUCCESS;
}
DRIVER_CALL(cuMemPoolTrimTo, void* pool, size_t) {
    ENTER();
    return pool == &the_pool ? SUCCESS : INVALID_VALUE;
}

// ---- host memory

DRIVER_CALL(cuMemHostAlloc, void** at, size_t bytes, unsigned) {
    ENTER_CONTEXT();
    if (!at || bytes == 0) return INVALID_VALUE;
    *at = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!*at) return OUT_OF_MEMORY;
    memset(*at, 0xff, bytes);
    host_register(*at, bytes);
    driver().host_blocks.insert(*at);
    return SUCCESS;
}

DRIVER_CALL(cuMemAllocHost_v2, void** at, size_t bytes) {
    ENTER();
    return cuMemHostAlloc(at, bytes, 0);
}

DRIVER_CALL(cuMemFreeHost, void* at) {
    ENTER_CONTEXT();
    drain_all(context);
    if (driver().host_blocks.erase(at) == 0) return INVALID_VALUE;
    host_unregister(at);
    free(at);
    return SUCCESS;
}

DRIVER_CALL(cuMemHostRegister_v2, void* at, size_t bytes, unsigned) {
    ENTER_CONTEXT();
    if (!at || bytes == 0) return INVALID_VALUE;
    if (host_registered(at, 1)) return HOST_MEMORY_ALREADY_REGISTERED;
    host_register(at, bytes);
    return SUCCESS;
}

DRIVER_CALL(cuMemHostUnregister, void* at) {
    ENTER_CONTEXT();
    drain_all(context);
    return host_unregister(at) ? SUCCESS : HOST_MEMORY_NOT_REGISTERED;
}

DRIVER_CALL(cuMemHostGetDevicePointer_v2, DevicePointer* device, void* at, unsigned) {
    ENTER_CONTEXT();
    if (!host_registered(at, 1)) return INVALID_VALUE;
    *device = reinterpret_cast<DevicePointer>(at);
    return SUCCESS;
}

// ---- copies and fills

// A range is looked up when the copy runs as well: it may have been freed by then.
// `from` and `to` are device addresses or the host's.
static void copy_now(Context* context, uint64_t to, uint64_t from, size_t bytes, const char* what) {
    const auto pointer = [bytes](uint64_t at) {
        return at - DEVICE < SPAN ? device_bytes(at, bytes) : reinterpret_cast<uint8_t*>(at);
    };
    if (pointer(to) && pointer(from)) {
        memmove(pointer(to), pointer(from), bytes);
        written_copy(to, from, bytes);
    } else {
        note_fault(context, ILLEGAL_ADDRESS, std::string(what) + ": the memory was freed before the copy ran");
    }
}

static int to_device(Context* context, Stream* s, DevicePointer to, const void* from, size_t bytes, bool now) {
    if (bytes == 0) return SUCCESS;
    if (!from || !device_bytes(to, bytes)) return INVALID_VALUE;
    const auto* source = static_cast<const uint8_t*>(from);
    // Pageable memory is read before the call returns; page-locked memory when the copy runs.
    if (s->capture || host_registered(from, bytes)) {
        enqueue(s, [=] { copy_now(context, to, reinterpret_cast<uint64_t>(source), bytes, "copy to the device"); });
    } else {
        auto kept = std::make_shared<std::vector<uint8_t>>(source, source + bytes);
        enqueue(s, [=] { copy_now(context, to, reinterpret_cast<uint64_t>(kept->data()), bytes, "copy to the device"); });
    }
    if (now) drain(s);
    return context->fault;
}

static int to_host(Context* context, Stream* s, void* to, DevicePointer from, size_t bytes, bool now) {
    if (bytes == 0) return SUCCESS;
    if (!to || !device_bytes(from, bytes)) return INVALID_VALUE;
    enqueue(s, [=] {
        copy_now(context, reinterpret_cast<uint64_t>(to), from, bytes, "copy from the device");
    });
    // Into pageable memory the call returns only when the copy is done.
    if (now || (!s->capture && !host_registered(to, bytes))) drain(s);
    return context->fault;
}

static int within_device(Context* context, Stream* s, DevicePointer to, DevicePointer from, size_t bytes) {
    if (bytes == 0) return SUCCESS;
    if (!device_bytes(to, bytes) || !device_bytes(from, bytes)) return INVALID_VALUE;
    enqueue(s, [=] {
        copy_now(context, to, from, bytes, "copy on the device");
    });
    return context->fault;
}

DRIVER_CALL(cuMemcpyHtoD_v2, DevicePointer to, const void* from, size_t bytes) {
    ENTER_CONTEXT();
    return to_device(context, context->null_stream.get(), to, from, bytes, true);
}
DRIVER_CALL(cuMemcpyHtoDAsync_v2, DevicePointer to, const void* from, size_t bytes, void* stream) {
    ENTER_CONTEXT();
    STREAM(stream);
    return to_device(context, s, to, from, bytes, false);
}
DRIVER_CALL(cuMemcpyDtoH_v2, void* to, DevicePointer from, size_t bytes) {
    ENTER_CONTEXT();
    return to_host(context, context->null_stream.get(), to, from, bytes, true);
}
DRIVER_CALL(cuMemcpyDtoHAsync_v2, void* to, DevicePointer from, size_t bytes, void* stream) {
    ENTER_CONTEXT();
    STREAM(stream);
    return to_host(context, s, to, from, bytes, false);
}
DRIVER_CALL(cuMemcpyDtoD_v2, DevicePointer to, DevicePointer from, size_t bytes) {
    ENTER_CONTEXT();
    return within_device(context, context->null_stream.get(), to, from, bytes);
}
DRIVER_CALL(cuMemcpyDtoDAsync_v2, DevicePointer to, DevicePointer from, size_t bytes, void* stream) {
    ENTER_CONTEXT();
    STREAM(stream);
    return within_device(context, s, to, from, bytes);
}

static int copy_any(Context* context, Stream* s, DevicePointer to, DevicePointer from, size_t bytes, bool now) {
    const bool to_dev = to - DEVICE < SPAN, from_dev = from - DEVICE < SPAN;
    if (to_dev && from_dev) return within_device(context, s, to, from, bytes);
    if (to_dev) return to_device(context, s, to, reinterpret_cast<void*>(from), bytes, now);
    if (from_dev) return to_host(context, s, reinterpret_cast<void*>(to), from, bytes, now);
    memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes);
    return SUCCESS;
}
DRIVER_CALL(cuMemcpy, DevicePointer to, DevicePointer from, size_t bytes) {
    ENTER_CONTEXT();
    return copy_any(context, context->null_stream.get(), to, from, bytes, true);
}
DRIVER_CALL(cuMemcpyAsync, DevicePointer to, DevicePointer from, size_t bytes, void* stream) {
    ENTER_CONTEXT();
    STREAM(stream);
    return copy_any(context, s, to, from, bytes, false);
}

template <class T> static int fill(Context* context, Stream* s, DevicePointer at, T value, size_t count) {
    if (count == 0) return SUCCESS;
    if (at % sizeof(T) != 0 || count > SIZE_MAX / sizeof(T) || !device_bytes(at, count * sizeof(T))) return INVALID_VALUE;
    enqueue(s, [=] {
        uint8_t* to = device_bytes(at, count * sizeof(T));
        if (!to) return note_fault(context, ILLEGAL_ADDRESS, "fill: the memory was freed before it ran");
        for (size_t i = 0; i < count; ++i) memcpy(to + i * sizeof(T), &value, sizeof(T));
        written_note(at, count * sizeof(T));
    });
    return context->fault;
}

#define FILL(bits, type)                                                                         \
    DRIVER_CALL(cuMemsetD##bits##_v2, DevicePointer at, type value, size_t count) {              \
        ENTER_CONTEXT();                                                                         \
        return fill<type>(context, context->null_stream.get(), at, value, count);                \
    }                                                                                            \
    DRIVER_CALL(cuMemsetD##bits##Async, DevicePointer at, type value, size_t count, void* stream) { \
        ENTER_CONTEXT();                                                                         \
        STREAM(stream);                                                                          \
        return fill<type>(context, s, at, value, count);                                         \
    }
FILL(8, unsigned char)
FILL(16, unsigned short)
FILL(32, unsigned)

// ---- pointers

static int pointer_attribute(void* value, int number, DevicePointer at) {
    uint64_t start = 0;
    size_t bytes = 0;
    const bool device = device_range(at, start, bytes);
    const bool host = host_registered(reinterpret_cast<void*>(at), 1);
    if (!device && !host) return INVALID_VALUE;
    Context* owner = nullptr;
    for (Context* c : driver().contexts)
        if (c->allocations.count(start)) owner = c;
    switch (number) {
        case 1: *static_cast<void**>(value) = owner; return SUCCESS;
        case 2: *static_cast<unsigned*>(value) = device ? 2 : 1; return SUCCESS;
        case 3: *static_cast<DevicePointer*>(value) = at; return SUCCESS;
        case 4:
            if (!host) return INVALID_VALUE;
            *static_cast<void**>(value) = reinterpret_cast<void*>(at);
            return SUCCESS;
        case 8: *static_cast<unsigned*>(value) = 0; return SUCCESS;
        case 9: *static_cast<int*>(value) = owner ? owner->device : 0; return SUCCESS;
        case 11: *static_cast<DevicePointer*>(value) = start; return SUCCESS;
        case 12: *static_cast<size_t*>(value) = bytes; return SUCCESS;
        default: return NOT_SUPPORTED;
    }
}

DRIVER_CALL(cuPointerGetAttribute, void* value, int number, DevicePointer at) {
    ENTER_CONTEXT();
    return pointer_attribute(value, number, at);
}

DRIVER_CALL(cuPointerGetAttributes, unsigned count, const int* numbers, void** values, DevicePointer at) {
    ENTER_CONTEXT();
    for (unsigned i = 0; i < count; ++i) {
        const int status = pointer_attribute(values[i], numbers[i], at);
        // Of a pointer that nobody knows the answers are zeros.
        if (status == INVALID_VALUE) *static_cast<int*>(values[i]) = 0;
        else if (status != SUCCESS) return status;
    }
    return SUCCESS;
}
