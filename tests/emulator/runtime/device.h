// Device memory: allocations in an address range of their own, each byte known to be live or not.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace emu {

// Reserves the address ranges; before any kernel runs.
void device_start();
// Zero when the device's memory does not suffice. New memory is filled with 0xFF: NaN in every float format.
uint64_t device_allocate(size_t bytes);
// False when nothing that lives begins here.
bool device_free(uint64_t address);
// The host's pointer to `bytes` that lie in one live allocation (or in registered host memory), else null.
uint8_t* device_bytes(uint64_t address, size_t bytes);
// Start and size of the live allocation that holds the address.
bool device_range(uint64_t address, uint64_t& start, size_t& bytes);
// Which allocation is nearest, and whether it lives: for reports.
std::string device_describe(uint64_t address);
size_t device_used();
size_t device_allocations();
void device_reset();

// Notes for the check of reads of what was never written; nothing happens when that check is off.
void written_forget(uint64_t address, size_t bytes);
void written_note(uint64_t address, size_t bytes);
void written_copy(uint64_t to, uint64_t from, size_t bytes);

// Host memory that kernels may read and write.
void host_register(void* from, size_t bytes);
bool host_unregister(void* from);
bool host_registered(const void* at, size_t bytes);
}  // namespace emu
