// The stand-in driver: initialisation, devices, contexts and errors.
#include <dlfcn.h>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include "device.h"
#include "settings.h"
#include "stream.h"

namespace emu {

Driver& driver() {
    // Never destroyed: programs call the driver from destructors of their own.
    static Driver* const made = new Driver;
    return *made;
}

Context*& current_context() {
    static thread_local Context* current = nullptr;
    return current;
}

int device_count() { return settings().devices; }

Context* primary_context(int device) {
    static Context* const all = new Context[MAX_DEVICES];
    Context* c = &all[device];
    c->device = device;
    c->primary = true;
    return c;
}

Status usable_context(Context*& context) {
    if (!driver().initialised) return NOT_INITIALIZED;
    context = current_context();
    if (!context) return INVALID_CONTEXT;
    if (driver().contexts.count(context) == 0) return CONTEXT_IS_DESTROYED;
    return context->fault;
}

void note_fault(Context* context, Status status, const std::string& report) {
    if (context->fault == SUCCESS) context->fault = status;
    print_report(report);
}

static void open_context(Context* c) {
    c->fault = SUCCESS;
    c->null_stream = std::make_unique<Stream>();
    c->null_stream->context = c;
    driver().contexts.insert(c);
}

static void close_context(Context* c) {
    if (c->fault == SUCCESS) drain_all(c);
    destroy_context_contents(c);
    c->null_stream.reset();
    driver().contexts.erase(c);
}

void destroy_context_contents(Context* c) {
    const auto modules = c->modules;
    for (Module* m : modules) forget_module(m);
    const auto streams = c->streams;
    for (Stream* s : streams) drop_stream(s);
    for (uint64_t at : c->allocations) device_free(at);
    c->allocations.clear();
    auto& events = driver().events;
    for (auto at = events.begin(); at != events.end();) {
        Event* e = *at;
        at = e->context == c ? events.erase(at) : std::next(at);
        if (e->context == c) delete e;
    }
}

Limits limits() {
    switch (settings().capability) {
        case 75: return {64 << 10, 64 << 10, 1024, 16};
        case 80: case 87: return {164 << 10, 163 << 10, 2048, 32};
        case 86: case 89: case 120: return {100 << 10, 99 << 10, 1536, 24};
        default: return {228 << 10, 227 << 10, 2048, 32};
    }
}
}  // namespace emu

using namespace emu;

DRIVER_CALL(cuInit, unsigned flags) {
    ENTER();
    if (flags != 0) return INVALID_VALUE;
    if (device_count() == 0) return NO_DEVICE;
    device_start();
    driver().initialised = true;
    return SUCCESS;
}

DRIVER_CALL(cuDriverGetVersion, int* version) {
    ENTER();
    if (!version) return INVALID_VALUE;
    *version = settings().driver_version;
    return SUCCESS;
}

#define NEEDS_DEVICE(device)                                     \
    if (!driver().initialised) return NOT_INITIALIZED;           \
    if ((device) < 0 || (device) >= device_count()) return INVALID_DEVICE

DRIVER_CALL(cuDeviceGetCount, int* count) {
    ENTER();
    if (!driver().initialised) return NOT_INITIALIZED;
    if (!count) return INVALID_VALUE;
    *count = device_count();
    return SUCCESS;
}

DRIVER_CALL(cuDeviceGet, int* device, int ordinal) {
    ENTER();
    NEEDS_DEVICE(ordinal);
    *device = ordinal;
    return SUCCESS;
}

DRIVER_CALL(cuDeviceGetName, char* name, int size, int device) {
    ENTER();
    NEEDS_DEVICE(device);
    if (!name || size <= 0) return INVALID_VALUE;
    snprintf(name, static_cast<size_t>(size), "CPU emulator of sm_%d", settings().capability);
    return SUCCESS;
}

static int fill_uuid(uint8_t* uuid, int device) {
    for (int i = 0; i < 16; ++i) uuid[i] = static_cast<uint8_t>("ov-emu-ptx-cpu-"[i]);
    uuid[15] = static_cast<uint8_t>(device);
    return SUCCESS;
}
DRIVER_CALL(cuDeviceGetUuid, uint8_t* uuid, int device) {
    ENTER();
    NEEDS_DEVICE(device);
    return fill_uuid(uuid, device);
}
DRIVER_CALL(cuDeviceGetUuid_v2, uint8_t* uuid, int device) {
    ENTER();
    NEEDS_DEVICE(device);
    return fill_uuid(uuid, device);
}

DRIVER_CALL(cuDeviceTotalMem_v2, size_t* bytes, int device) {
    ENTER();
    NEEDS_DEVICE(device);
    *bytes = settings().memory;
    return SUCCESS;
}

DRIVER_CALL(cuDeviceComputeCapability, int* major, int* minor, int device) {
    ENTER();
    NEEDS_DEVICE(device);
    *major = settings().capability / 10;
    *minor = settings().capability % 10;
    return SUCCESS;
}

static int attribute(int number) {
    const Limits l = limits();
    switch (number) {
        case 1: case 2: case 3: return 1024;          // threads of a block, along x, along y
        case 4: return 64;                            // along z
        case 5: return 0x7fffffff;                    // blocks along x
        case 6: case 7: return 65535;                 // along y and z
        case 8: return 48 << 10;                      // shared memory of a block
        case 9: return 64 << 10;                      // constants
        case 10: return 32;                           // warp
        case 11: return 0x7fffffff;                   // pitch
        case 12: case 82: return 65536;               // registers of a block, of a multiprocessor
        case 13: case 36: return 1000000;             // clocks, kHz
        case 14: return 512;                          // texture alignment
        case 15: case 19: case 31: case 41: case 78: return 1;  // overlap, mapping, concurrency, one address space, priorities
        case 16: return settings().multiprocessors;
        case 37: return 256;                          // bus width, bits
        case 38: return 4 << 20;                      // L2
        case 39: return l.threads_per_sm;
        case 40: return 2;                            // copy engines
        case 75: return settings().capability / 10;
        case 76: return settings().capability % 10;
        case 81: return l.shared_per_sm;
        case 97: return l.shared_opt_in;
        case 106: return l.blocks_per_sm;
        case 111: return 1024;                        // shared memory that the driver keeps of each block's
        case 115: return 1;                           // memory pools
        default: return 0;
    }
}

DRIVER_CALL(cuDeviceGetAttribute, int* value, int number, int device) {
    ENTER();
    NEEDS_DEVICE(device);
    if (!value || number <= 0 || number > 200) return INVALID_VALUE;
    *value = attribute(number);
    return SUCCESS;
}

DRIVER_CALL(cuDeviceGetPCIBusId, char* text, int size, int device) {
    ENTER();
    NEEDS_DEVICE(device);
    snprintf(text, static_cast<size_t>(size), "0000:%02x:00.0", device + 1);
    return SUCCESS;
}

DRIVER_CALL(cuDeviceCanAccessPeer, int* can, int device, int peer) {
    ENTER();
    NEEDS_DEVICE(device);
    NEEDS_DEVICE(peer);
    *can = 0;
    return SUCCESS;
}

// ---- contexts

DRIVER_CALL(cuDevicePrimaryCtxRetain, Context** context, int device) {
    ENTER();
    NEEDS_DEVICE(device);
    Context* c = primary_context(device);
    if (c->retained++ == 0) open_context(c);
    *context = c;
    return SUCCESS;
}

DRIVER_CALL(cuDevicePrimaryCtxRelease_v2, int device) {
    ENTER();
    NEEDS_DEVICE(device);
    Context* c = primary_context(device);
    if (c->retained == 0) return INVALID_CONTEXT;
    if (--c->retained == 0) close_context(c);
    return SUCCESS;
}

DRIVER_CALL(cuDevicePrimaryCtxReset_v2, int device) {
    ENTER();
    NEEDS_DEVICE(device);
    Context* c = primary_context(device);
    if (c->retained == 0) return SUCCESS;
    close_context(c);
    open_context(c);
    return SUCCESS;
}

DRIVER_CALL(cuDevicePrimaryCtxGetState, int device, unsigned* flags, int* active) {
    ENTER();
    NEEDS_DEVICE(device);
    *flags = primary_context(device)->flags;
    *active = primary_context(device)->retained != 0;
    return SUCCESS;
}

DRIVER_CALL(cuDevicePrimaryCtxSetFlags_v2, int device, unsigned flags) {
    ENTER();
    NEEDS_DEVICE(device);
    primary_context(device)->flags = flags;
    return SUCCESS;
}

DRIVER_CALL(cuCtxCreate_v2, Context** context, unsigned flags, int device) {
    ENTER();
    NEEDS_DEVICE(device);
    auto* c = new Context;
    c->device = device;
    c->flags = flags;
    open_context(c);
    current_context() = c;
    *context = c;
    return SUCCESS;
}

DRIVER_CALL(cuCtxDestroy_v2, Context* context) {
    ENTER();
    if (driver().contexts.count(context) == 0 || context->primary) return INVALID_CONTEXT;
    close_context(context);
    if (current_context() == context) current_context() = nullptr;
    // Its memory stays, so that another thread that still has it as current is told so.
    return SUCCESS;
}

DRIVER_CALL(cuCtxSetCurrent, Context* context) {
    ENTER();
    if (!driver().initialised) return NOT_INITIALIZED;
    if (context && driver().contexts.count(context) == 0) return INVALID_CONTEXT;
    current_context() = context;
    return SUCCESS;
}

DRIVER_CALL(cuCtxGetCurrent, Context** context) {
    ENTER();
    if (!driver().initialised) return NOT_INITIALIZED;
    *context = current_context();
    return SUCCESS;
}

static thread_local std::vector<Context*> context_stack;

DRIVER_CALL(cuCtxPushCurrent_v2, Context* context) {
    ENTER();
    if (driver().contexts.count(context) == 0) return INVALID_CONTEXT;
    context_stack.push_back(current_context());
    current_context() = context;
    return SUCCESS;
}

DRIVER_CALL(cuCtxPopCurrent_v2, Context** context) {
    ENTER();
    if (context_stack.empty() && !current_context()) return INVALID_CONTEXT;
    if (context) *context = current_context();
    current_context() = context_stack.empty() ? nullptr : context_stack.back();
    if (!context_stack.empty()) context_stack.pop_back();
    return SUCCESS;
}

DRIVER_CALL(cuCtxGetDevice, int* device) {
    ENTER();
    if (!current_context()) return INVALID_CONTEXT;
    *device = current_context()->device;
    return SUCCESS;
}

DRIVER_CALL(cuCtxGetApiVersion, Context* context, unsigned* version) {
    ENTER();
    if (context && driver().contexts.count(context) == 0) return INVALID_CONTEXT;
    *version = 3020;
    return SUCCESS;
}

DRIVER_CALL(cuCtxSynchronize) {
    ENTER_CONTEXT();
    drain_all(context);
    return context->fault;
}

DRIVER_CALL(cuCtxSetLimit, int, size_t) {
    ENTER_CONTEXT();
    return SUCCESS;
}

DRIVER_CALL(cuCtxGetLimit, size_t* value, int) {
    ENTER_CONTEXT();
    *value = 0;
    return SUCCESS;
}

DRIVER_CALL(cuCtxSetCacheConfig, int) {
    ENTER_CONTEXT();
    return SUCCESS;
}

DRIVER_CALL(cuCtxGetStreamPriorityRange, int* least, int* greatest) {
    ENTER_CONTEXT();
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return SUCCESS;
}

// ---- errors

namespace {
struct Named {
    int status;
    const char* name;
    const char* text;
};
const Named NAMES[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {LAUNCH_TIMEOUT, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {CONTEXT_IS_DESTROYED, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {ASSERT, "CUDA_ERROR_ASSERT", "device-side assert triggered"},
    {HOST_MEMORY_ALREADY_REGISTERED, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED", "part or all of the requested memory range is already mapped"},
    {HOST_MEMORY_NOT_REGISTERED, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", "pointer does not correspond to a registered memory region"},
    {MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {STREAM_CAPTURE_UNMATCHED, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "the capture was not initiated in this stream"},
    {UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"},
};
const Named* named(int status) {
    for (const Named& n : NAMES)
        if (n.status == status) return &n;
    return nullptr;
}
}  // namespace

DRIVER_CALL(cuGetErrorName, int status, const char** name) {
    const Named* n = named(status);
    *name = n ? n->name : nullptr;
    return n ? SUCCESS : INVALID_VALUE;
}

DRIVER_CALL(cuGetErrorString, int status, const char** text) {
    const Named* n = named(status);
    *text = n ? n->text : nullptr;
    return n ? SUCCESS : INVALID_VALUE;
}

DRIVER_CALL(cuGetProcAddress, const char* name, void** function, int, uint64_t) {
    ENTER();
    *function = dlsym(RTLD_DEFAULT, name);
    return *function ? SUCCESS : NOT_FOUND;
}
