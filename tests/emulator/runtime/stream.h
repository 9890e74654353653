// Streams as queues of work, run at once or, when the environment asks for lazy streams, only when somebody waits.
#pragma once
#include <deque>
#include <functional>
#include <vector>
#include "api.h"

namespace emu {

typedef std::function<void()> Work;

struct Graph {
    std::vector<Work> work;
};
struct GraphExec {
    std::vector<Work> work;
};

struct Stream {
    Context* context = nullptr;
    unsigned flags = 0;
    int priority = 0;
    std::deque<Work> queue;
    // The graph that takes its work instead, and whether this stream began the capture.
    Graph* capture = nullptr;
    bool origin = false;

    bool blocking() const { return (flags & 1) == 0; }
};

struct Event {
    Context* context = nullptr;
    unsigned flags = 0;
    // The record that was asked for last, and the last one that has happened.
    uint64_t issued = 0, done = 0;
    Stream* stream = nullptr;
    Graph* capture = nullptr;
    double milliseconds = 0;
};

// Null, 1 and 2 name the context's own stream.
Status find_stream(Context* context, void* handle, Stream*& stream);
// Adds work to a stream.
void enqueue(Stream* stream, Work work);
// Runs what a stream holds.
void drain(Stream* stream);
void drain_all(Context* context);
void drop_stream(Stream* stream);
}  // namespace emu
