// The stand-in driver: modules and launches. PTX is known by the hash of its text, machine code by its kernels' names.
#include <algorithm>
#include <cstring>
#include <vector>
#include "device.h"
#include "settings.h"
#include "stream.h"
#include "worker.h"

namespace emu {

struct Function {
    Module* module;
    const Kernel* kernel;
    int most_dynamic = 0;
};

struct Module {
    Context* context;
    const Image* image;
    uint64_t globals = 0;
    std::map<std::string, std::unique_ptr<Function>> functions;
};

namespace {

std::vector<const Image*>& images() {
    static auto* const all = new std::vector<const Image*>;
    return *all;
}

std::set<Function*>& functions() {
    static auto* const all = new std::set<Function*>;
    return *all;
}

// The hash of `translate::hash`: FNV-1a without trailing space.
uint64_t hash(const char* text) {
    size_t n = strlen(text);
    while (n > 0 && strchr(" \t\r\n\f", text[n - 1])) --n;
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < n; ++i) h = (h ^ static_cast<uint8_t>(text[i])) * 0x100000001b3;
    return h;
}

template <class T> T at(const uint8_t* from) {
    T value;
    memcpy(&value, from, sizeof value);
    return value;
}

// The kernels of a cubin by its sections `.text.NAME`, and the architecture it is for.
std::set<std::string> kernels_of_cubin(const uint8_t* elf, int& capability) {
    // The ABI of CUDA 13 moved the number up a byte.
    const auto flags = at<uint32_t>(elf + 48);
    capability = static_cast<int>(elf[8] >= 8 ? flags >> 8 & 0xff : flags & 0xff);
    const uint8_t* sections = elf + at<uint64_t>(elf + 40);
    const unsigned size = at<uint16_t>(elf + 58), count = at<uint16_t>(elf + 60), names = at<uint16_t>(elf + 62);
    const auto* strings = reinterpret_cast<const char*>(elf + at<uint64_t>(sections + names * size + 24));
    std::set<std::string> found;
    for (unsigned i = 0; i < count; ++i) {
        const std::string name = strings + at<uint32_t>(sections + i * size);
        if (name.rfind(".text.", 0) == 0) found.insert(name.substr(6));
    }
    return found;
}

std::set<std::string> kernels_of(const Image* image) {
    std::set<std::string> names;
    for (uint32_t i = 0; i < image->kernel_count; ++i) names.insert(image->kernels[i].name);
    return names;
}

Status find_cubin(const uint8_t* elf, const Image*& found) {
    int capability = 0;
    const auto wanted = kernels_of_cubin(elf, capability);
    const int device = settings().capability;
    if (capability / 10 != device / 10 || capability > device) {
        print_report("machine code for sm_" + std::to_string(capability) + " does not run on sm_" + std::to_string(device));
        return NO_BINARY_FOR_GPU;
    }
    for (const Image* image : images()) {
        const auto has = kernels_of(image);
        if (!std::includes(wanted.begin(), wanted.end(), has.begin(), has.end()) || has.empty()) continue;
        if (static_cast<int>(image->target) > capability) continue;
        if (!found || image->target > found->target) found = image;
    }
    if (found) return SUCCESS;
    print_report("no translated PTX has the kernels of this machine code (the first is '" +
                 (wanted.empty() ? "" : *wanted.begin()) + "'): build the emulator from the PTX of the same build");
    return INVALID_IMAGE;
}

Status find_ptx(const char* text, const Image*& found) {
    const uint64_t wanted = hash(text);
    for (const Image* image : images())
        if (image->hash == wanted) found = image;
    if (!found) {
        print_report("this PTX is none of those that were translated: build the emulator from the PTX of the same build");
        return INVALID_PTX;
    }
    if (static_cast<int>(found->target) <= settings().capability) return SUCCESS;
    print_report(std::string(found->file) + " is for sm_" + std::to_string(found->target) + ", the device is sm_" +
                 std::to_string(settings().capability));
    return NO_BINARY_FOR_GPU;
}

int load(Context* context, Module** module, const void* bytes) {
    if (!module || !bytes) return INVALID_VALUE;
    const auto* data = static_cast<const uint8_t*>(bytes);
    const Image* image = nullptr;
    Status status;
    if (!memcmp(data, "\177ELF", 4)) status = find_cubin(data, image);
    else if (data[0] == '/' || data[0] == '.' || data[0] == '\n' || data[0] == ' ') status = find_ptx(reinterpret_cast<const char*>(data), image);
    else status = INVALID_IMAGE;
    if (status) return status;
    auto* m = new Module{context, image, 0, {}};
    if (image->global_bytes != 0) {
        m->globals = device_allocate(image->global_bytes);
        if (m->globals == 0) {
            delete m;
            return OUT_OF_MEMORY;
        }
        uint8_t* to = device_bytes(m->globals, image->global_bytes);
        memcpy(to, image->initial, image->global_bytes);
        written_note(m->globals, image->global_bytes);
        for (uint32_t i = 0; i < image->relocation_count; ++i) {
            uint8_t* word = to + image->relocations[i];
            const uint64_t address = at<uint64_t>(word) + m->globals;
            memcpy(word, &address, sizeof address);
        }
    }
    context->modules.insert(m);
    *module = m;
    return SUCCESS;
}

struct Shape {
    Dim grid, block;
    unsigned dynamic;
};

Status fits(const Function* f, const Shape& shape) {
    const Dim g = shape.grid, b = shape.block;
    if (g.x == 0 || g.y == 0 || g.z == 0 || b.x == 0 || b.y == 0 || b.z == 0) return INVALID_VALUE;
    if (g.x > 0x7fffffff || g.y > 65535 || g.z > 65535) return INVALID_VALUE;
    if (b.x > 1024 || b.y > 1024 || b.z > 64 || static_cast<uint64_t>(b.x) * b.y * b.z > 1024) return INVALID_VALUE;
    if (b.x * b.y * b.z > f->kernel->max_threads) return LAUNCH_OUT_OF_RESOURCES;
    if (shape.dynamic > static_cast<unsigned>(f->most_dynamic)) return INVALID_VALUE;
    return SUCCESS;
}

int pack(const Kernel* k, void** parameters, void** extra, std::vector<uint8_t>& into) {
    into.assign(std::max(k->parameter_bytes, 1u), 0xff);
    if (k->parameters == 0) return SUCCESS;
    if (parameters) {
        for (uint32_t i = 0; i < k->parameters; ++i) {
            if (!parameters[i]) return INVALID_VALUE;
            memcpy(into.data() + k->layout[i][0], parameters[i], k->layout[i][1]);
        }
        return SUCCESS;
    }
    const void* buffer = nullptr;
    size_t size = 0;
    for (; extra && *extra; extra += 2) {
        if (extra[0] == reinterpret_cast<void*>(1)) buffer = extra[1];
        if (extra[0] == reinterpret_cast<void*>(2)) size = *static_cast<size_t*>(extra[1]);
    }
    if (!buffer || size < k->parameter_bytes) return INVALID_VALUE;
    memcpy(into.data(), buffer, k->parameter_bytes);
    return SUCCESS;
}

int launch(Context* context, Function* f, const Shape& shape, void* stream, void** parameters, void** extra) {
    Stream* s = nullptr;
    if (const Status failed = find_stream(context, stream, s)) return failed;
    if (functions().count(f) == 0 || f->module->context != context) return INVALID_HANDLE;
    if (const Status failed = fits(f, shape)) return failed;
    auto packed = std::make_shared<std::vector<uint8_t>>();
    if (const int failed = pack(f->kernel, parameters, extra, *packed)) return failed;
    const Kernel* kernel = f->kernel;
    const uint64_t globals = f->module->globals;
    enqueue(s, [=] {
        if (const Status injected = launch_failure(kernel->name))
            return note_fault(context, injected, std::string("kernel ") + kernel->name + ": a failure that was asked for");
        const Launch run{kernel, packed->data(), globals, shape.grid, shape.block, shape.dynamic};
        const Failure failure = run_grid(run);
        if (failure.fault != Fault::None) note_fault(context, static_cast<Status>(failure.fault), failure.message);
    });
    // As on the hardware, what goes wrong on the device is told by a later call.
    return SUCCESS;
}

}  // namespace

void register_image(const Image* image) { images().push_back(image); }

int newest_target() {
    uint32_t newest = 75;
    for (const Image* image : images()) newest = std::max(newest, image->target);
    return static_cast<int>(newest);
}

void forget_module(Module* m) {
    for (const auto& [name, f] : m->functions) functions().erase(f.get());
    if (m->globals != 0) device_free(m->globals);
    m->context->modules.erase(m);
    delete m;
}
}  // namespace emu

using namespace emu;

DRIVER_CALL(cuModuleLoadData, Module** module, const void* bytes) {
    ENTER_CONTEXT();
    return load(context, module, bytes);
}

DRIVER_CALL(cuModuleLoadDataEx, Module** module, const void* bytes, unsigned, int*, void**) {
    ENTER_CONTEXT();
    return load(context, module, bytes);
}

DRIVER_CALL(cuModuleUnload, Module* module) {
    ENTER();
    for (Context* c : driver().contexts)
        if (c->modules.count(module)) {
            if (c->fault == SUCCESS) drain_all(c);
            forget_module(module);
            return c->fault;
        }
    return INVALID_HANDLE;
}

DRIVER_CALL(cuModuleGetFunction, Function** function, Module* module, const char* name) {
    ENTER_CONTEXT();
    if (context->modules.count(module) == 0) return INVALID_HANDLE;
    if (!name || !function) return INVALID_VALUE;
    const Image* image = module->image;
    for (uint32_t i = 0; i < image->kernel_count; ++i) {
        const Kernel* k = &image->kernels[i];
        if (strcmp(k->name, name) != 0) continue;
        auto& found = module->functions[name];
        if (!found) {
            found = std::make_unique<Function>();
            found->module = module;
            found->kernel = k;
            found->most_dynamic = std::max(0, (48 << 10) - static_cast<int>(k->static_shared));
            functions().insert(found.get());
        }
        *function = found.get();
        return SUCCESS;
    }
    return NOT_FOUND;
}

DRIVER_CALL(cuModuleGetGlobal_v2, DevicePointer* at, size_t* bytes, Module* module, const char* name) {
    ENTER_CONTEXT();
    if (context->modules.count(module) == 0) return INVALID_HANDLE;
    for (uint32_t i = 0; i < module->image->global_count; ++i) {
        const Global& g = module->image->globals[i];
        if (strcmp(g.name, name) != 0) continue;
        if (at) *at = module->globals + g.offset;
        if (bytes) *bytes = g.bytes;
        return SUCCESS;
    }
    return NOT_FOUND;
}

DRIVER_CALL(cuFuncGetAttribute, int* value, int number, Function* function) {
    ENTER_CONTEXT();
    if (functions().count(function) == 0) return INVALID_HANDLE;
    const Kernel* k = function->kernel;
    switch (number) {
        case 0: *value = static_cast<int>(k->max_threads); break;
        case 1: *value = static_cast<int>(k->static_shared); break;
        case 3: *value = static_cast<int>(k->local_bytes); break;
        case 4: *value = 32; break;  // registers: PTX does not say
        case 5: case 6: *value = static_cast<int>(function->module->image->target); break;
        case 8: *value = function->most_dynamic; break;
        default: *value = 0;
    }
    return SUCCESS;
}

DRIVER_CALL(cuFuncSetAttribute, Function* function, int number, int value) {
    ENTER_CONTEXT();
    if (functions().count(function) == 0) return INVALID_HANDLE;
    if (number == 8) {
        if (value < 0 || value + static_cast<int>(function->kernel->static_shared) > limits().shared_opt_in) return INVALID_VALUE;
        function->most_dynamic = value;
    }
    return SUCCESS;
}

DRIVER_CALL(cuFuncSetCacheConfig, Function* function, int) {
    ENTER_CONTEXT();
    return functions().count(function) ? SUCCESS : INVALID_HANDLE;
}

static int resident_blocks(const Function* f, int threads, size_t dynamic) {
    const Limits l = limits();
    if (threads <= 0 || threads > static_cast<int>(f->kernel->max_threads)) return 0;
    const size_t shared = f->kernel->static_shared + dynamic + 1024;
    return std::min({l.blocks_per_sm, l.threads_per_sm / ((threads + 31) / 32 * 32), static_cast<int>(l.shared_per_sm / shared)});
}

DRIVER_CALL(cuOccupancyMaxActiveBlocksPerMultiprocessor, int* blocks, Function* function, int threads, size_t dynamic) {
    ENTER_CONTEXT();
    if (functions().count(function) == 0) return INVALID_HANDLE;
    *blocks = resident_blocks(function, threads, dynamic);
    return SUCCESS;
}

DRIVER_CALL(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags, int* blocks, Function* function, int threads, size_t dynamic,
            unsigned) {
    ENTER_CONTEXT();
    if (functions().count(function) == 0) return INVALID_HANDLE;
    *blocks = resident_blocks(function, threads, dynamic);
    return SUCCESS;
}

DRIVER_CALL(cuLaunchKernel, Function* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
            unsigned dynamic, void* stream, void** parameters, void** extra) {
    ENTER_CONTEXT();
    return launch(context, function, {{gx, gy, gz}, {bx, by, bz}, dynamic}, stream, parameters, extra);
}

struct LaunchAttribute {
    int id, pad;
    union {
        char bytes[64];
        struct { unsigned x, y, z; } cluster;
    } value;
};
struct LaunchConfig {
    unsigned gx, gy, gz, bx, by, bz, dynamic;
    void* stream;
    LaunchAttribute* attributes;
    unsigned count;
};

DRIVER_CALL(cuLaunchKernelEx, const LaunchConfig* c, Function* function, void** parameters, void** extra) {
    ENTER_CONTEXT();
    if (!c) return INVALID_VALUE;
    for (unsigned i = 0; i < c->count; ++i) {
        const LaunchAttribute& a = c->attributes[i];
        // Blocks of a cluster would have to run at the same time, as would those of a cooperative launch.
        const bool cluster = a.id == 4 && a.value.cluster.x * a.value.cluster.y * a.value.cluster.z != 1;
        if (cluster || (a.id == 2 && a.value.bytes[0])) return NOT_SUPPORTED;
    }
    return launch(context, function, {{c->gx, c->gy, c->gz}, {c->bx, c->by, c->bz}, c->dynamic}, c->stream, parameters, extra);
}
