// driver.c - a stand-in libcuda.so.1 for tests of everything before the first kernel: what the driver and its devices
// say, which context is current, what is freed. Device memory is host memory; kernels cannot be launched.
//
// STAND_IN_VERSION  what cuDriverGetVersion says (12040)
// STAND_IN_INIT     the status of cuInit (0)
// STAND_IN_DEVICES  compute capabilities times ten, one device each ("90")
// STAND_IN_MODE     the compute mode of every device (0)
// STAND_IN_LOG      a file for one line per change of the current context and per allocation
//
// Compile with -DWITHOUT_LAUNCH for a driver that lacks a function.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void *handle;
typedef uint64_t address;

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, NOT_FOUND = 500, UNKNOWN = 999 };

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 10) : otherwise;
}

static void note(const char *what, uintptr_t value) {
    const char *path = getenv("STAND_IN_LOG");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file) {
        fprintf(file, "%s %lx\n", what, (unsigned long)value);
        fclose(file);
    }
}

static const char *capability(int device) {
    const char *text = getenv("STAND_IN_DEVICES");
    text = text ? text : "90";
    for (; device > 0 && text; device--) {
        text = strchr(text, ',');
        text = text ? text + 1 : NULL;
    }
    return text && *text ? text : NULL;
}

int cuInit(unsigned flags) {
    (void)flags;
    return (int)number("STAND_IN_INIT", SUCCESS);
}

int cuDriverGetVersion(int *version) {
    *version = (int)number("STAND_IN_VERSION", 12040);
    return SUCCESS;
}

int cuDeviceGetCount(int *count) {
    for (*count = 0; capability(*count); ++*count) {
    }
    return SUCCESS;
}

int cuDeviceGet(int *device, int ordinal) {
    *device = 100 + ordinal;
    return capability(ordinal) ? SUCCESS : INVALID_DEVICE;
}

int cuDeviceGetName(char *name, int capacity, int device) {
    snprintf(name, (size_t)capacity, "Stand-in %d", device - 100);
    return SUCCESS;
}

int cuDeviceGetUuid(unsigned char *uuid, int device) {
    for (int i = 0; i < 16; i++) uuid[i] = (unsigned char)(16 * (device - 100) + i);
    return SUCCESS;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    *bytes = (size_t)(device - 99) << 30;
    return SUCCESS;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    long own = strtol(capability(device - 100), NULL, 10);
    *value = (int)(attribute == 75 ? own / 10 : attribute == 76 ? own % 10 : attribute == 20 ? number("STAND_IN_MODE", 0) : 0);
    return own ? SUCCESS : UNKNOWN;
}

static int primary[16];
static _Thread_local handle current;
static _Thread_local int started;

// The host's own context, which every call must leave as it was.
static handle *own_current(void) {
    if (!started) {
        started = 1;
        current = (handle)(uintptr_t)number("STAND_IN_CURRENT", 0);
    }
    return &current;
}

int cuDevicePrimaryCtxRetain(handle *context, int device) {
    *context = &primary[device - 100];
    note("retain", (uintptr_t)device);
    return SUCCESS;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
    note("release", (uintptr_t)device);
    return SUCCESS;
}

int cuCtxGetCurrent(handle *context) {
    *context = *own_current();
    return SUCCESS;
}

int cuCtxSetCurrent(handle context) {
    uintptr_t at = (uintptr_t)context;
    int is_primary = at >= (uintptr_t)primary && at < (uintptr_t)(primary + 16);
    *own_current() = context;
    note(is_primary ? "enter" : "leave", is_primary ? (at - (uintptr_t)primary) / sizeof(int) : at);
    return SUCCESS;
}

static int is_entered(void) {
    uintptr_t at = (uintptr_t)*own_current();
    return at >= (uintptr_t)primary && at < (uintptr_t)(primary + 16);
}

int cuMemAlloc_v2(address *place, size_t bytes) {
    if (!is_entered()) return UNKNOWN;
    if (bytes > (size_t)1 << 30) return OUT_OF_MEMORY;
    *place = (address)(uintptr_t)malloc(bytes);
    note("allocate", bytes);
    return *place ? SUCCESS : OUT_OF_MEMORY;
}

int cuMemFree_v2(address place) {
    if (!is_entered()) return UNKNOWN;
    free((void *)(uintptr_t)place);
    note("free", 0);
    return SUCCESS;
}

int cuMemcpyHtoDAsync_v2(address to, const void *from, size_t bytes, handle stream) {
    memcpy((void *)(uintptr_t)to, from, bytes);
    return stream && is_entered() ? SUCCESS : UNKNOWN;
}

int cuMemcpyDtoHAsync_v2(void *to, address from, size_t bytes, handle stream) {
    memcpy(to, (void *)(uintptr_t)from, bytes);
    return stream && is_entered() ? SUCCESS : UNKNOWN;
}

int cuMemsetD8Async(address to, unsigned char byte, size_t bytes, handle stream) {
    memset((void *)(uintptr_t)to, byte, bytes);
    return stream && is_entered() ? SUCCESS : UNKNOWN;
}

int cuStreamCreate(handle *stream, unsigned flags) {
    *stream = malloc(1);
    return flags == 1 && is_entered() ? SUCCESS : INVALID_VALUE;
}

int cuStreamDestroy_v2(handle stream) {
    free(stream);
    return is_entered() ? SUCCESS : UNKNOWN;
}

int cuStreamSynchronize(handle stream) { return stream && is_entered() ? SUCCESS : UNKNOWN; }

int cuModuleLoadData(handle *module, const void *image) {
    note(memcmp(image, "\177ELF", 4) ? "load PTX" : "load cubin", 0);
    *module = malloc(1);
    return is_entered() ? SUCCESS : UNKNOWN;
}

int cuModuleUnload(handle module) {
    free(module);
    return is_entered() ? SUCCESS : UNKNOWN;
}

int cuModuleGetFunction(handle *function, handle module, const char *name) {
    *function = module;
    return strncmp(name, "ov3d_", 5) ? NOT_FOUND : SUCCESS;
}

int cuGetErrorName(int error, const char **text) {
    *text = error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : error == NOT_FOUND ? "CUDA_ERROR_NOT_FOUND" : "CUDA_ERROR";
    return SUCCESS;
}

int cuGetErrorString(int error, const char **text) {
    *text = error == 803 ? "system has unsupported display driver" : "a stand-in's error";
    return SUCCESS;
}

#define NOT_HERE(name)                                                                                                 \
    int name(void) { return UNKNOWN; }
#ifndef WITHOUT_LAUNCH
NOT_HERE(cuLaunchKernel)
#endif
NOT_HERE(cuEventCreate)
NOT_HERE(cuEventDestroy_v2)
NOT_HERE(cuEventElapsedTime)
NOT_HERE(cuEventRecord)
NOT_HERE(cuFuncGetAttribute)
NOT_HERE(cuFuncSetAttribute)
NOT_HERE(cuMemcpyDtoDAsync_v2)
NOT_HERE(cuMemsetD32Async)
