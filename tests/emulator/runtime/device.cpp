// Device memory, and the slow half of every checked access.
#include "device.h"
#include <sys/mman.h>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include "memory.h"
#include "settings.h"

namespace emu {
namespace {

struct Range {
    uint64_t start;
    size_t bytes;
};

constexpr size_t REMEMBERED = 4096;

void* reserve(uint64_t at, size_t bytes, int protection) {
    void* p = mmap(reinterpret_cast<void*>(at), bytes, protection,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (p != reinterpret_cast<void*>(at)) {
        fprintf(stderr, "ov-emu: the address range %#llx..+%#zx is not free\n", static_cast<unsigned long long>(at), bytes);
        abort();
    }
    return p;
}

struct Memory {
    std::mutex mutex;
    // Live allocations and registered host memory by their starts.
    std::map<uint64_t, size_t> live, host;
    // The last ones that were freed, newest first.
    std::deque<Range> freed;
    // Address space that may be used again, by its start; searched from `cursor` on, so that freed addresses rest long.
    std::map<uint64_t, size_t> gaps;
    uint64_t cursor = DEVICE;
    size_t used = 0;

    Memory() {
        reserve(DEVICE, SPAN, PROT_NONE);
        reserve(BACKING, SPAN, PROT_READ | PROT_WRITE);
        reserve(WRITTEN, SPAN, PROT_READ | PROT_WRITE);
        reserve(GRANULES, SPAN / GRANULE * sizeof(uint16_t), PROT_READ | PROT_WRITE);
        // The windows of the other spaces are as closed to the host as device memory.
        for (uint64_t window : {SHARED_WINDOW, LOCAL_WINDOW, PARAM_WINDOW}) reserve(window, WINDOW, PROT_NONE);
        // The first pages stay empty.
        gaps[DEVICE + (1 << 20)] = SPAN - (1 << 20);
    }
};

// Never destroyed: programs free memory from destructors of their own.
Memory& memory() {
    static Memory* const made = new Memory;
    return *made;
}

uint16_t* mutable_granules() { return reinterpret_cast<uint16_t*>(GRANULES); }

// An allocation ends in at least one granule of nobody's, so that running past its end is seen.
size_t spaced(size_t bytes) { return (bytes + GRANULE - 1) / GRANULE * GRANULE + 2 * GRANULE; }

void mark(uint64_t start, size_t bytes, bool alive) {
    uint16_t* at = mutable_granules() + (start - DEVICE) / GRANULE;
    const size_t whole = bytes / GRANULE;
    std::fill(at, at + whole, alive ? GRANULE : 0);
    if (bytes % GRANULE) at[whole] = alive ? bytes % GRANULE : 0;
}

std::map<uint64_t, size_t>::const_iterator holder(const std::map<uint64_t, size_t>& ranges, uint64_t address) {
    auto found = ranges.upper_bound(address);
    if (found == ranges.begin()) return ranges.end();
    --found;
    return address - found->first < found->second ? found : ranges.end();
}

void release(std::map<uint64_t, size_t>& gaps, uint64_t start, size_t bytes) {
    auto [at, added] = gaps.emplace(start, bytes);
    auto next = std::next(at);
    if (next != gaps.end() && at->first + at->second == next->first) {
        at->second += next->second;
        gaps.erase(next);
    }
    if (at == gaps.begin()) return;
    auto before = std::prev(at);
    if (before->first + before->second == at->first) {
        before->second += at->second;
        gaps.erase(at);
    }
}

}  // namespace

void device_start() { memory(); }

uint64_t device_allocate(size_t bytes) {
    Memory& m = memory();
    std::lock_guard lock(m.mutex);
    if (bytes > settings().memory || m.used > settings().memory - bytes) return 0;
    const size_t room = spaced(bytes);
    const auto fits = [&](const auto& gap) { return gap.second >= room; };
    auto gap = std::find_if(m.gaps.lower_bound(m.cursor), m.gaps.end(), fits);
    if (gap == m.gaps.end()) gap = std::find_if(m.gaps.begin(), m.gaps.end(), fits);
    if (gap == m.gaps.end()) return 0;
    const uint64_t start = gap->first;
    const size_t left = gap->second - room;
    m.gaps.erase(gap);
    if (left != 0) m.gaps[start + room] = left;
    m.cursor = start + room;
    m.live[start] = bytes;
    m.used += bytes;
    memset(reinterpret_cast<void*>(BACKING + (start - DEVICE)), 0xff, bytes);
    mark(start, bytes, true);
    written_forget(start, bytes);
    return start;
}

bool device_free(uint64_t address) {
    Memory& m = memory();
    std::lock_guard lock(m.mutex);
    const auto found = m.live.find(address);
    if (found == m.live.end()) return false;
    const size_t bytes = found->second;
    mark(address, bytes, false);
    // Whole pages go back to the system.
    const uint64_t page = 4096, first = (BACKING + (address - DEVICE) + page - 1) / page * page;
    const uint64_t end = (BACKING + (address - DEVICE) + bytes) / page * page;
    if (end > first) madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
    m.used -= bytes;
    m.live.erase(found);
    m.freed.push_front({address, bytes});
    if (m.freed.size() > REMEMBERED) m.freed.pop_back();
    release(m.gaps, address, spaced(bytes));
    return true;
}

uint8_t* device_bytes(uint64_t address, size_t bytes) {
    Memory& m = memory();
    std::lock_guard lock(m.mutex);
    for (const auto* ranges : {&m.live, &m.host}) {
        const auto found = holder(*ranges, address);
        if (found == ranges->end() || found->first + found->second - address < bytes) continue;
        return reinterpret_cast<uint8_t*>(ranges == &m.live ? BACKING + (address - DEVICE) : address);
    }
    return nullptr;
}

bool device_range(uint64_t address, uint64_t& start, size_t& bytes) {
    Memory& m = memory();
    std::lock_guard lock(m.mutex);
    const auto found = holder(m.live, address);
    if (found == m.live.end()) return false;
    start = found->first;
    bytes = found->second;
    return true;
}

std::string device_describe(uint64_t address) {
    Memory& m = memory();
    std::lock_guard lock(m.mutex);
    char text[200];
    for (const Range& r : m.freed)
        if (address - r.start < r.bytes && holder(m.live, address) == m.live.end()) {
            snprintf(text, sizeof text, "it is %llu bytes into an allocation of %zu bytes at %#llx that was freed",
                     static_cast<unsigned long long>(address - r.start), r.bytes, static_cast<unsigned long long>(r.start));
            return text;
        }
    uint64_t nearest = ~0ull, start = 0;
    size_t bytes = 0;
    for (const auto& [from, size] : m.live) {
        const uint64_t distance = address < from ? from - address : address - from < size ? 0 : address - from - size;
        if (distance >= nearest) continue;
        nearest = distance, start = from, bytes = size;
    }
    if (nearest == ~0ull) return "there are no allocations";
    if (address - start < bytes) snprintf(text, sizeof text, "it runs over the end of the allocation of %zu bytes at %#llx", bytes,
                               static_cast<unsigned long long>(start));
    else snprintf(text, sizeof text, "the nearest allocation, of %zu bytes at %#llx, %s %llu bytes %s", bytes,
                  static_cast<unsigned long long>(start), address < start ? "begins" : "ends",
                  static_cast<unsigned long long>(nearest), address < start ? "after it" : "before it");
    return text;
}

size_t device_used() {
    Memory& m = memory();
    std::lock_guard lock(m.mutex);
    return m.used;
}

size_t device_allocations() {
    Memory& m = memory();
    std::lock_guard lock(m.mutex);
    return m.live.size();
}

void device_reset() {
    std::vector<uint64_t> all;
    {
        Memory& m = memory();
    std::lock_guard lock(m.mutex);
        for (const auto& [start, bytes] : m.live) all.push_back(start);
    }
    for (uint64_t start : all) device_free(start);
}

void host_register(void* from, size_t bytes) {
    Memory& m = memory();
    std::lock_guard lock(m.mutex);
    m.host[reinterpret_cast<uint64_t>(from)] = bytes;
}

bool host_unregister(void* from) {
    Memory& m = memory();
    std::lock_guard lock(m.mutex);
    return m.host.erase(reinterpret_cast<uint64_t>(from)) != 0;
}

bool host_registered(const void* at, size_t bytes) {
    Memory& m = memory();
    std::lock_guard lock(m.mutex);
    const auto found = holder(m.host, reinterpret_cast<uint64_t>(at));
    return found != m.host.end() && found->first + found->second - reinterpret_cast<uint64_t>(at) >= bytes;
}

// ---- what accesses come to when the fast check fails

uint8_t* global_slow(Thread* t, uint64_t address, uint32_t bytes, uint32_t line, bool write) {
    const auto shown = static_cast<unsigned long long>(address);
    const char* kind = write ? "write" : "read";
    if (address % bytes != 0)
        fail(t, Fault::Misaligned, line, "%s of %u bytes at %#llx, which is not aligned to them", kind, bytes, shown);
    if (host_registered(reinterpret_cast<void*>(address), bytes)) return reinterpret_cast<uint8_t*>(address);
    fail(t, Fault::Address, line, "%s of %u bytes at %#llx is outside all allocations: %s", kind, bytes, shown,
         device_describe(address).c_str());
}

const uint8_t* global_bytes(Thread* t, uint64_t address, uint32_t bytes, uint32_t line) {
    const uint64_t offset = address - DEVICE, last = offset + bytes - 1;
    const auto lives = [](uint64_t at) { return at % GRANULE < granules()[at / GRANULE]; };
    if (offset < SPAN && last < SPAN && lives(offset) && lives(last)) {
        if (t->block->watches_global) watch_global(t, address, bytes, READ, line);
        return reinterpret_cast<const uint8_t*>(BACKING + offset);
    }
    if (host_registered(reinterpret_cast<void*>(address), bytes)) return reinterpret_cast<const uint8_t*>(address);
    fail(t, Fault::Address, line, "read of %u bytes at %#llx is outside all allocations: %s", bytes,
         static_cast<unsigned long long>(address), device_describe(address).c_str());
}

void shared_fault(Thread* t, uint32_t offset, uint32_t bytes, uint32_t line, const char* what) {
    const Block* b = t->block;
    const int64_t at = static_cast<int64_t>(offset) - SHARED_FIRST;
    if (at >= 0 && at + bytes <= b->shared_bytes)
        fail(t, Fault::Misaligned, line, "%s of %u bytes at offset %lld of shared memory, which is not aligned to them",
             what, bytes, static_cast<long long>(at));
    fail(t, Fault::Address, line, "%s of %u bytes at offset %lld of shared memory: the block has %u bytes, %u of them dynamic",
         what, bytes, static_cast<long long>(at), b->shared_bytes, b->launch.dynamic_shared);
}

uint8_t* local_at(Thread* t, uint64_t offset, uint32_t bytes, uint32_t line) {
    if (offset + bytes > t->local_top || offset % bytes != 0)
        fail(t, offset % bytes ? Fault::Misaligned : Fault::Address, line,
             "access to %u bytes at offset %llu of %u bytes of local memory", bytes,
             static_cast<unsigned long long>(offset), t->local_top);
    return t->local + offset;
}

uint8_t* generic_slow(Thread* t, uint64_t address, uint32_t bytes, uint32_t line, bool write) {
    if (address - LOCAL_WINDOW < WINDOW) return local_at(t, address - LOCAL_WINDOW, bytes, line);
    if (address - PARAM_WINDOW < WINDOW && !write) {
        const uint64_t offset = address - PARAM_WINDOW;
        if (offset + bytes <= t->block->launch.kernel->parameter_bytes)
            return const_cast<uint8_t*>(t->block->launch.parameters) + offset;
    }
    return global_slow(t, address, bytes, line, write);
}
}  // namespace emu
