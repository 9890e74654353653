// The stand-in driver: streams, events and graphs.
#include <chrono>
#include "settings.h"
#include "stream.h"

namespace emu {
namespace {

double now() {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void run_next(Stream* s) {
    Work work = std::move(s->queue.front());
    s->queue.pop_front();
    // After a fault nothing runs any more.
    if (s->context->fault == SUCCESS) work();
}

bool is_event(Event* e) { return driver().events.count(e) != 0; }

// Runs the stream of an event until this record of it has happened.
void reach(Event* e, uint64_t record) {
    while (e->done < record && e->stream && !e->stream->queue.empty()) run_next(e->stream);
}

}  // namespace

Status find_stream(Context* context, void* handle, Stream*& stream) {
    const auto number = reinterpret_cast<uintptr_t>(handle);
    stream = number <= 2 ? context->null_stream.get() : static_cast<Stream*>(handle);
    if (number <= 2) return SUCCESS;
    return context->streams.count(stream) ? SUCCESS : INVALID_HANDLE;
}

void drain(Stream* s) {
    while (!s->queue.empty()) run_next(s);
}

void drain_all(Context* context) {
    drain(context->null_stream.get());
    for (Stream* s : context->streams) drain(s);
}

void enqueue(Stream* s, Work work) {
    if (s->capture) {
        s->capture->work.push_back(std::move(work));
        return;
    }
    // The context's own stream and blocking ones wait for each other.
    Context* c = s->context;
    const bool own = s == c->null_stream.get();
    if (own)
        for (Stream* other : c->streams)
            if (other->blocking()) drain(other);
    if (!own && s->blocking()) drain(c->null_stream.get());
    s->queue.push_back(std::move(work));
    if (!settings().lazy_streams) drain(s);
}

void drop_stream(Stream* s) {
    if (s->context->fault == SUCCESS) drain(s);
    s->context->streams.erase(s);
    for (Event* e : driver().events)
        if (e->stream == s) e->stream = nullptr, e->done = e->issued;
    delete s;
}
}  // namespace emu

using namespace emu;

#define STREAM(handle)                                                              \
    Stream* s = nullptr;                                                            \
    if (const Status failed_stream_ = find_stream(context, handle, s)) return failed_stream_
#define NOT_CAPTURING() if (s->capture) return STREAM_CAPTURE_UNSUPPORTED

DRIVER_CALL(cuStreamCreateWithPriority, void** stream, unsigned flags, int priority) {
    ENTER_CONTEXT();
    if (!stream || flags > 1) return INVALID_VALUE;
    auto* s = new Stream;
    s->context = context;
    s->flags = flags;
    s->priority = priority;
    context->streams.insert(s);
    *stream = s;
    return SUCCESS;
}

DRIVER_CALL(cuStreamCreate, void** stream, unsigned flags) {
    ENTER();
    return cuStreamCreateWithPriority(stream, flags, 0);
}

DRIVER_CALL(cuStreamDestroy_v2, void* stream) {
    ENTER();
    // Allowed after a fault, and from a thread with another context.
    for (Context* c : driver().contexts)
        if (c->streams.count(static_cast<Stream*>(stream))) {
            drop_stream(static_cast<Stream*>(stream));
            return c->fault;
        }
    return INVALID_HANDLE;
}

DRIVER_CALL(cuStreamSynchronize, void* stream) {
    ENTER_CONTEXT();
    STREAM(stream);
    NOT_CAPTURING();
    if (s == context->null_stream.get()) {
        for (Stream* other : context->streams)
            if (other->blocking()) drain(other);
    }
    drain(s);
    return context->fault;
}

DRIVER_CALL(cuStreamQuery, void* stream) {
    ENTER_CONTEXT();
    STREAM(stream);
    NOT_CAPTURING();
    if (s->queue.empty()) return SUCCESS;
    // Who asks again will find it done.
    drain(s);
    return context->fault ? context->fault : NOT_READY;
}

DRIVER_CALL(cuStreamGetCtx, void* stream, Context** of) {
    ENTER_CONTEXT();
    STREAM(stream);
    *of = s->context;
    return SUCCESS;
}

DRIVER_CALL(cuStreamGetFlags, void* stream, unsigned* flags) {
    ENTER_CONTEXT();
    STREAM(stream);
    *flags = s->flags;
    return SUCCESS;
}

DRIVER_CALL(cuStreamGetPriority, void* stream, int* priority) {
    ENTER_CONTEXT();
    STREAM(stream);
    *priority = s->priority;
    return SUCCESS;
}

DRIVER_CALL(cuLaunchHostFunc, void* stream, void (*function)(void*), void* argument) {
    ENTER_CONTEXT();
    STREAM(stream);
    enqueue(s, [=] { function(argument); });
    return SUCCESS;
}

// ---- events

DRIVER_CALL(cuEventCreate, Event** event, unsigned flags) {
    ENTER_CONTEXT();
    auto* e = new Event;
    e->context = context;
    e->flags = flags;
    driver().events.insert(e);
    *event = e;
    return SUCCESS;
}

DRIVER_CALL(cuEventDestroy_v2, Event* event) {
    ENTER();
    if (!is_event(event)) return INVALID_HANDLE;
    reach(event, event->issued);
    driver().events.erase(event);
    delete event;
    return SUCCESS;
}

DRIVER_CALL(cuEventRecord, Event* event, void* stream) {
    ENTER_CONTEXT();
    STREAM(stream);
    if (!is_event(event) || event->context != context) return INVALID_HANDLE;
    event->capture = s->capture;
    if (s->capture) return SUCCESS;
    reach(event, event->issued);
    const uint64_t record = ++event->issued;
    event->stream = s;
    enqueue(s, [=] { event->milliseconds = now(), event->done = record; });
    return SUCCESS;
}

DRIVER_CALL(cuEventSynchronize, Event* event) {
    ENTER_CONTEXT();
    if (!is_event(event)) return INVALID_HANDLE;
    reach(event, event->issued);
    return context->fault;
}

DRIVER_CALL(cuEventQuery, Event* event) {
    ENTER_CONTEXT();
    if (!is_event(event)) return INVALID_HANDLE;
    if (event->done == event->issued) return SUCCESS;
    reach(event, event->issued);
    return context->fault ? context->fault : NOT_READY;
}

static int elapsed(float* milliseconds, Event* from, Event* to) {
    if (!is_event(from) || !is_event(to) || from->issued == 0 || to->issued == 0) return INVALID_HANDLE;
    if ((from->flags | to->flags) & 2) return INVALID_HANDLE;
    if (from->done != from->issued || to->done != to->issued) return NOT_READY;
    *milliseconds = static_cast<float>(to->milliseconds - from->milliseconds);
    return SUCCESS;
}

DRIVER_CALL(cuEventElapsedTime, float* milliseconds, Event* from, Event* to) {
    ENTER_CONTEXT();
    return elapsed(milliseconds, from, to);
}

DRIVER_CALL(cuEventElapsedTime_v2, float* milliseconds, Event* from, Event* to) {
    ENTER_CONTEXT();
    return elapsed(milliseconds, from, to);
}

DRIVER_CALL(cuStreamWaitEvent, void* stream, Event* event, unsigned) {
    ENTER_CONTEXT();
    STREAM(stream);
    if (!is_event(event)) return INVALID_HANDLE;
    if (event->capture) {
        // The stream joins the capture that the event was recorded in.
        s->capture = event->capture;
        return SUCCESS;
    }
    const uint64_t record = event->issued;
    enqueue(s, [=] {
        if (is_event(event)) reach(event, record);
    });
    return SUCCESS;
}

// ---- graphs

DRIVER_CALL(cuStreamBeginCapture_v2, void* stream, int) {
    ENTER_CONTEXT();
    STREAM(stream);
    if (s == context->null_stream.get()) return STREAM_CAPTURE_UNSUPPORTED;
    if (s->capture) return INVALID_VALUE;
    s->capture = new Graph;
    s->origin = true;
    return SUCCESS;
}

DRIVER_CALL(cuStreamEndCapture, void* stream, Graph** graph) {
    ENTER_CONTEXT();
    STREAM(stream);
    if (!s->capture) return INVALID_VALUE;
    if (!s->origin) return STREAM_CAPTURE_UNMATCHED;
    *graph = s->capture;
    driver().graphs.insert(s->capture);
    for (Event* e : driver().events)
        if (e->capture == *graph) e->capture = nullptr;
    for (Stream* other : context->streams)
        if (other->capture == *graph) other->capture = nullptr;
    s->origin = false;
    return SUCCESS;
}

DRIVER_CALL(cuStreamIsCapturing, void* stream, int* status) {
    ENTER_CONTEXT();
    STREAM(stream);
    *status = s->capture != nullptr;
    return SUCCESS;
}

DRIVER_CALL(cuGraphInstantiateWithFlags, GraphExec** executable, Graph* graph, uint64_t) {
    ENTER_CONTEXT();
    if (driver().graphs.count(graph) == 0) return INVALID_HANDLE;
    *executable = new GraphExec{graph->work};
    driver().executables.insert(*executable);
    return SUCCESS;
}

DRIVER_CALL(cuGraphUpload, GraphExec* executable, void* stream) {
    ENTER_CONTEXT();
    STREAM(stream);
    return driver().executables.count(executable) ? SUCCESS : INVALID_HANDLE;
}

DRIVER_CALL(cuGraphLaunch, GraphExec* executable, void* stream) {
    ENTER_CONTEXT();
    STREAM(stream);
    if (driver().executables.count(executable) == 0) return INVALID_HANDLE;
    for (const Work& work : executable->work) enqueue(s, work);
    return context->fault;
}

DRIVER_CALL(cuGraphGetNodes, Graph* graph, void** nodes, size_t* count) {
    ENTER_CONTEXT();
    if (driver().graphs.count(graph) == 0) return INVALID_HANDLE;
    if (nodes) return NOT_SUPPORTED;
    *count = graph->work.size();
    return SUCCESS;
}

DRIVER_CALL(cuGraphExecDestroy, GraphExec* executable) {
    ENTER();
    if (driver().executables.erase(executable) == 0) return INVALID_HANDLE;
    delete executable;
    return SUCCESS;
}

DRIVER_CALL(cuGraphDestroy, Graph* graph) {
    ENTER();
    if (driver().graphs.erase(graph) == 0) return INVALID_HANDLE;
    delete graph;
    return SUCCESS;
}
