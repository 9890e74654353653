// The race check of shared memory: two threads may touch a byte, one of them writing, only when a barrier orders them.
//
// Every thread has a vector clock; barriers and bar.warp.sync join those of their threads. An access is in order with
// an earlier one when its thread's clock has seen the other thread's step. Shuffles and votes order nothing: in PTX
// they do not order memory. A cp.async writes at a time nobody knows between its issue and the wait for its group.
//
// Clocks are kept as differences from the last barrier of the whole block (`floor`): all steps before it are seen by
// all, so neither a barrier nor the next block has to clear anything. Of each two bytes the last write is kept, and of
// the reads since those of two lanes in each of two warps: whoever writes is another thread than one of them.
#include <algorithm>
#include "worker.h"

namespace emu {

namespace {

struct Access {
    // A copy in flight comes after everything that any thread has seen.
    uint32_t step, line;
    uint16_t thread;
    // Which of the two bytes, and READ, WRITE or ATOMIC.
    uint8_t bytes, kind;
};
constexpr uint32_t IN_FLIGHT = ~0u;

struct Cell {
    Access write;
    Access reads[2][2];
};

}  // namespace

struct Race {
    uint32_t threads = 0, counter = 1, floor = 1;
    std::vector<uint32_t> step;
    // What lane t has seen of the lanes of its warp, and what thread t has seen of all threads; each row counts only
    // while its stamp is the floor.
    std::vector<uint32_t> warp, block, warp_stamp, block_stamp;
    std::vector<Cell> cells;

    uint32_t seen(uint32_t t, uint32_t u) const {
        uint32_t s = floor;
        if (t / WARP == u / WARP && warp_stamp[t] == floor) s = std::max(s, warp[t * WARP + u % WARP]);
        if (block_stamp[t] == floor) s = std::max(s, block[static_cast<size_t>(t) * threads + u]);
        return s;
    }
    uint32_t now(uint32_t t) const { return std::max(step[t], floor); }
    bool ordered(const Access& before, uint32_t t) const {
        return before.step < floor || (before.step != IN_FLIGHT && (before.thread == t || before.step < seen(t, before.thread)));
    }
};

Race* race_create() { return new Race; }
void race_destroy(Race* race) { delete race; }

void race_reset(Race* r, uint32_t threads, uint32_t shared_bytes) {
    // The numbers of steps start again long before they end.
    const bool start_again = r->counter > (1u << 31);
    if (start_again || r->cells.size() < shared_bytes / 2 + 1) r->cells.assign(shared_bytes / 2 + 1, {});
    if (start_again) r->counter = 1;
    if (start_again || r->threads != threads) {
        r->threads = threads;
        r->step.assign(threads, 0);
        r->warp.assign(threads * WARP, 0);
        r->block.assign(static_cast<size_t>(threads) * threads, 0);
        r->warp_stamp.assign(threads, 0);
        r->block_stamp.assign(threads, 0);
    }
    r->floor = ++r->counter;
}

static void join_block(Race* r, const uint32_t* threads, uint32_t count) {
    std::vector<uint32_t> joined(r->threads, r->floor);
    for (uint32_t i = 0; i < count; ++i)
        for (uint32_t u = 0; u < r->threads; ++u) joined[u] = std::max(joined[u], r->seen(threads[i], u));
    ++r->counter;
    for (uint32_t i = 0; i < count; ++i) joined[threads[i]] = r->step[threads[i]] = r->counter;
    for (uint32_t i = 0; i < count; ++i) {
        std::copy(joined.begin(), joined.end(), r->block.begin() + static_cast<ptrdiff_t>(threads[i]) * r->threads);
        r->block_stamp[threads[i]] = r->floor;
    }
}

static void join_warp(Race* r, const uint32_t* threads, uint32_t count) {
    const uint32_t first = threads[0] / WARP * WARP, lanes = std::min(WARP, r->threads - first);
    uint32_t joined[WARP];
    std::fill(joined, joined + WARP, r->floor);
    for (uint32_t i = 0; i < count; ++i)
        for (uint32_t u = 0; u < lanes; ++u) joined[u] = std::max(joined[u], r->seen(threads[i], first + u));
    ++r->counter;
    for (uint32_t i = 0; i < count; ++i) joined[threads[i] % WARP] = r->step[threads[i]] = r->counter;
    for (uint32_t i = 0; i < count; ++i) {
        std::copy(joined, joined + WARP, r->warp.begin() + threads[i] * WARP);
        r->warp_stamp[threads[i]] = r->floor;
    }
}

void race_join(Race* r, const uint32_t* threads, uint32_t count, bool all) {
    if (count == 0) return;
    if (all) {
        r->floor = ++r->counter;
        return;
    }
    const uint32_t warp = threads[0] / WARP;
    const bool one_warp = std::all_of(threads, threads + count, [&](uint32_t t) { return t / WARP == warp; });
    // What a named barrier has told one lane of other warps, the others learn too.
    const bool told = std::any_of(threads, threads + count, [&](uint32_t t) { return r->block_stamp[t] == r->floor; });
    if (one_warp && !told) join_warp(r, threads, count);
    else join_block(r, threads, count);
}

static const char* name(const Access& a) {
    if (a.step == IN_FLIGHT) return "copy in flight (cp.async)";
    return a.kind == READ ? "read" : a.kind == WRITE ? "write" : "atomic";
}

static void report(Thread* t, uint32_t offset, const Access& before, const Access& now) {
    const Thread& other = t->block->thread[before.thread];
    fail(t, Fault::Failed, now.line, "race at offset %u of shared memory: this %s and the %s by thread (%u,%u,%u) in line %u "
         "have no barrier between them", offset, name(now), name(before), other.tid[0], other.tid[1], other.tid[2],
         before.line);
}

static void keep_read(Race* r, Cell& c, const Access& now) {
    const auto newest = [](const Access (&pair)[2]) { return std::max(pair[0].step, pair[1].step); };
    const auto of_warp = [&](const Access (&pair)[2]) {
        return newest(pair) >= r->floor && pair[pair[1].step > pair[0].step].thread / WARP == now.thread / WARP;
    };
    const bool second = of_warp(c.reads[1]) || (!of_warp(c.reads[0]) && newest(c.reads[1]) < newest(c.reads[0]));
    Access(&pair)[2] = c.reads[second];
    if (!of_warp(pair)) pair[0].step = pair[1].step = 0;
    for (Access& own : pair)
        if (own.step != 0 && own.thread == now.thread) {
            const uint8_t bytes = own.bytes;
            own = now;
            own.bytes |= bytes;
            return;
        }
    pair[pair[1].step < pair[0].step] = now;
}

static void access(Thread* t, uint32_t offset, uint32_t bytes, Access now) {
    Race* r = t->block->race;
    const uint32_t end = offset + bytes;
    for (uint32_t at = offset & ~1u; at < end; at += 2) {
        Cell& c = r->cells[at / 2];
        now.bytes = static_cast<uint8_t>((at >= offset ? 1 : 0) | (at + 1 < end ? 2 : 0));
        const bool both_atomic = now.kind == ATOMIC && c.write.kind == ATOMIC;
        const auto clashes = [&](const Access& before) { return (before.bytes & now.bytes) && !r->ordered(before, now.thread); };
        if (!both_atomic && clashes(c.write)) report(t, at, c.write, now);
        if (now.kind == READ) {
            keep_read(r, c, now);
            continue;
        }
        for (auto& pair : c.reads)
            for (const Access& read : pair)
                if (clashes(read)) report(t, at, read, now);
        c.write = now;
    }
}

void race_access(Thread* t, uint32_t offset, uint32_t bytes, uint32_t kind, uint32_t line) {
    const uint32_t step = t->block->race->now(t->index);
    access(t, offset, bytes, {step, line, static_cast<uint16_t>(t->index), 0, static_cast<uint8_t>(kind)});
}

void race_copy_issued(Thread* t, uint32_t offset, uint32_t bytes, uint32_t line) {
    race_access(t, offset, bytes, WRITE, line);
    for (uint32_t at = offset & ~1u; at < offset + bytes; at += 2) t->block->race->cells[at / 2].write.step = IN_FLIGHT;
}

void race_copy_landed(Thread* t, uint32_t offset, uint32_t bytes) {
    Race* r = t->block->race;
    for (uint32_t at = offset & ~1u; at < offset + bytes; at += 2) {
        Access& write = r->cells[at / 2].write;
        if (write.thread == t->index && write.step == IN_FLIGHT) write.step = r->now(t->index);
    }
}
}  // namespace emu
