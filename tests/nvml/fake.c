/* NVIDIA's management library, as far as Tidegate asks it: two GPUs, of which the second tells little.
 * Names, numbers and layouts are those of nvml.h (https://docs.nvidia.com/deploy/nvml-api/). */

#include <stdio.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3 };

typedef struct { unsigned int gpu, memory; } utilization;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory_v2;

static int devices[2];

static int is_first(void *device) { return device == &devices[0]; }

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }

int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    if (index > 1) return INVALID_ARGUMENT;
    *device = &devices[index];
    return SUCCESS;
}

int nvmlDeviceGetName(void *device, char *name, unsigned int length) {
    snprintf(name, length, "NVIDIA Fake %c100", is_first(device) ? 'A' : 'B');
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned int length) {
    snprintf(uuid, length, "GPU-%d", is_first(device) ? 11 : 22);
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *device, utilization *rates) {
    if (!is_first(device)) return NOT_SUPPORTED;
    rates->gpu = 37;
    rates->memory = 12;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(void *device, memory_v2 *info) {
    /* nvmlMemory_v2: the version says which layout the caller has. */
    if (info->version != (sizeof(memory_v2) | 2 << 24)) return INVALID_ARGUMENT;
    info->total = is_first(device) ? 80ULL << 30 : 16ULL << 30;
    info->used = 3ULL << 30;
    info->free = info->total - info->used;
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned int *milliwatts) {
    if (!is_first(device)) return NOT_SUPPORTED;
    *milliwatts = 123456;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(void *device, unsigned int sensor, unsigned int *celsius) {
    if (sensor != 0) return INVALID_ARGUMENT;
    *celsius = is_first(device) ? 54 : 61;
    return SUCCESS;
}
