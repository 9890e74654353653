// What the files of the stand-in driver share: statuses, handles, contexts, and the gate of every call.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include "emulator.h"

namespace emu {

enum Status : int {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    NO_BINARY_FOR_GPU = 209,
    INVALID_PTX = 218,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
    ILLEGAL_ADDRESS = 700,
    LAUNCH_OUT_OF_RESOURCES = 701,
    LAUNCH_TIMEOUT = 702,
    PRIMARY_CONTEXT_ACTIVE = 708,
    CONTEXT_IS_DESTROYED = 709,
    ASSERT = 710,
    HOST_MEMORY_ALREADY_REGISTERED = 712,
    HOST_MEMORY_NOT_REGISTERED = 713,
    MISALIGNED_ADDRESS = 716,
    LAUNCH_FAILED = 719,
    NOT_SUPPORTED = 801,
    STREAM_CAPTURE_UNSUPPORTED = 900,
    STREAM_CAPTURE_UNMATCHED = 903,
    UNKNOWN = 999,
};

typedef unsigned long long DevicePointer;

// One function of the driver: how often it was called, and whether this call has to fail.
class Call {
public:
    explicit Call(const char* name);
    Status enter();

private:
    struct State;
    State* state_;
};
// The same for the launches of a kernel: a failure on the device.
Status launch_failure(const char* kernel);

struct Stream;
struct Event;
struct Graph;
struct GraphExec;
struct Module;
struct Function;

struct Context {
    int device = 0;
    bool primary = false;
    unsigned retained = 0;
    // The first fault of a kernel: every later call returns it.
    Status fault = SUCCESS;
    std::set<uint64_t> allocations;
    std::set<Module*> modules;
    std::set<Stream*> streams;
    std::unique_ptr<Stream> null_stream;
    unsigned flags = 0;
};

// Everything the driver knows; the lock is held through every call.
struct Driver {
    std::recursive_mutex mutex;
    bool initialised = false;
    std::set<Context*> contexts;
    std::set<Event*> events;
    std::set<Graph*> graphs;
    std::set<GraphExec*> executables;
    // Page-locked host memory that the driver owns.
    std::set<void*> host_blocks;
};
Driver& driver();

Context*& current_context();
// The calling thread's context when it can be used, else why it cannot.
Status usable_context(Context*& context);
Context* primary_context(int device);
int device_count();
void note_fault(Context* context, Status status, const std::string& report);
void print_report(const std::string& text);
void destroy_context_contents(Context* context);

struct Limits {
    int shared_per_sm, shared_opt_in, threads_per_sm, blocks_per_sm;
};
Limits limits();

void forget_module(Module* module);
}  // namespace emu

#define DRIVER_CALL(name, ...) extern "C" __attribute__((visibility("default"))) int name(__VA_ARGS__)
// Every call begins with one of these: counts it, lets it fail when that was asked for, takes the lock.
#define ENTER()                                                    \
    static emu::Call call_(__func__);                              \
    std::lock_guard lock_(emu::driver().mutex);                    \
    if (const emu::Status failed_ = call_.enter()) return failed_
#define ENTER_CONTEXT()                                            \
    ENTER();                                                       \
    emu::Context* context = nullptr;                               \
    if (const emu::Status failed_ = emu::usable_context(context)) return failed_
