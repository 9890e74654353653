// The check for reads of memory that nothing was written to: one byte of notes for each byte of memory.
#include <sys/mman.h>
#include <algorithm>
#include "device.h"
#include "memory.h"
#include "settings.h"

namespace emu {
namespace {

uint8_t* notes(uint64_t address) { return reinterpret_cast<uint8_t*>(WRITTEN + (address - DEVICE)); }
bool is_device(uint64_t address) { return address - DEVICE < SPAN; }

}  // namespace

void written_forget(uint64_t address, size_t bytes) {
    if (!settings().init_check) return;
    // Whole pages of notes are dropped, which makes them zero.
    const uint64_t page = 4096, first = reinterpret_cast<uint64_t>(notes(address)), last = first + bytes;
    const uint64_t begin = (first + page - 1) / page * page, end = last / page * page;
    if (begin >= end) {
        memset(notes(address), 0, bytes);
        return;
    }
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
    memset(reinterpret_cast<void*>(first), 0, begin - first);
    memset(reinterpret_cast<void*>(end), 0, last - end);
}

void written_note(uint64_t address, size_t bytes) {
    if (settings().init_check && is_device(address)) memset(notes(address), 1, bytes);
}

void written_copy(uint64_t to, uint64_t from, size_t bytes) {
    if (!settings().init_check || !is_device(to)) return;
    if (is_device(from)) memmove(notes(to), notes(from), bytes);
    else memset(notes(to), 1, bytes);
}

void watch_global(Thread* t, uint64_t address, uint32_t bytes, uint32_t kind, uint32_t line) {
    if (!is_device(address)) return;
    uint8_t* n = notes(address);
    if (kind != WRITE && std::find(n, n + bytes, 0) != n + bytes)
        fail(t, Fault::Failed, line, "read of %u bytes at %#llx, of which byte %td is one that nothing was written to: %s", bytes,
             static_cast<unsigned long long>(address), std::find(n, n + bytes, 0) - n, device_describe(address).c_str());
    if (kind != READ) memset(n, 1, bytes);
}

void watch_shared(Thread* t, uint32_t offset, uint32_t bytes, uint32_t kind, uint32_t line) {
    Block* b = t->block;
    if (b->race) race_access(t, offset, bytes, kind, line);
    if (!b->written) return;
    uint8_t* n = b->written + offset;
    if (kind != WRITE && std::find(n, n + bytes, 0) != n + bytes)
        fail(t, Fault::Failed, line, "read of %u bytes at offset %u of shared memory that nothing was written to", bytes, offset);
    if (kind != READ) memset(n, 1, bytes);
}
}  // namespace emu
