/* device.h - a processor that runs ops: open, allocate, copy, first failure
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One thread at a time uses a Device. Ops return nothing: a backend keeps its
 * first failure here and device_sync reports it, once per step.
 * Compiles as C and as C++.
 */
#pragma once

#include "kernels/mat.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum DeviceCode {
  DEVICE_OK,
  DEVICE_UNAVAILABLE, /* no such device, driver missing or too old */
  DEVICE_NO_MEMORY,   /* an allocation did not fit */
  DEVICE_LOST,        /* a kernel failed or the device went away */
} DeviceCode;

typedef struct DeviceStatus {
  DeviceCode code;
  char message[240];               /* one sentence for people */
  size_t needed_bytes, free_bytes; /* when an allocation did not fit */
} DeviceStatus;

struct Ops;

typedef struct Device {
  const struct Ops *op;
  int gpu;             /* its number; -1: this is the processor */
  int n_threads;       /* workers of the CPU backend, at least 1 */
  DataType act_type;   /* of activations: f32 on the CPU */
  size_t act_bytes;    /* bytes of one activation */
  bool has_bf16;       /* multiplies bf16 natively */
  bool records;        /* device_replay may succeed */
  unsigned n_replays;  /* how often it did */
  unsigned n_waits;    /* how often the host has waited for the device */
  unsigned n_syncs;    /* and how often until all that was submitted had run */
  char name[64];       /* "cpu (avx512, 8 threads)", "cuda:0 (...)" */
  DeviceStatus status; /* first failure since open */
  void *backend;       /* the backend's own */
} Device;

/* Opens "cpu", "cuda", "cuda:N" or "auto" (cuda if there is one, else cpu);
 * "cpu:plain", "cpu:avx2" and "cpu:avx512" use no newer instructions than
 * these. With ":f32" behind the name a GPU, too, has activations in f32, and
 * weights with them.
 * n_threads 0 means one per processor available. NULL on failure, with the
 * reason in *status. */
Device *device_open (const char *name, int n_threads, DeviceStatus *status);

/* Accepts NULL. Everything allocated on it must have been freed. */
void device_close (Device *dev);

/* Device memory aligned to 64 bytes, contents undefined. NULL if it does not
 * fit; that is recorded as DEVICE_NO_MEMORY. */
void *device_alloc (Device *dev, size_t bytes);
void device_free (Device *dev, void *ptr);

/* Bytes that device_alloc can still be expected to serve. */
size_t device_memory_free (Device *dev);

/* Host to device and back, ordered with the ops around them. Upload may
 * return before the copy is done only if it has read src; download returns
 * with dst complete. */
void device_upload (Device *dev, void *dst, const void *src, size_t bytes);
void device_download (Device *dev, void *dst, const void *src, size_t bytes);

/* Host memory, aligned like device memory, that fetches may go to. NULL if
 * there is none, which is recorded as DEVICE_NO_MEMORY. */
void *device_host_alloc (Device *dev, size_t bytes);
void device_host_free (Device *dev, void *ptr);

/* A download that nobody waits for: dst, in such host memory, is complete when
 * a later download or sync has returned, and is not looked at before. */
void device_fetch (Device *dev, void *dst, const void *src, size_t bytes);

/* Waits for everything submitted; false and *status if something failed. */
bool device_sync (Device *dev, DeviceStatus *status);

#define DEVICE_MARKS 2

/* Notes, under a number below DEVICE_MARKS, when all that was submitted so far
 * is done; a mark is noted anew as often as one likes. Not while recording. */
void device_mark (Device *dev, int mark);

/* Microseconds from one mark to a later one. Something submitted behind both
 * has been waited for. */
double device_marked_us (Device *dev, int from, int to);

/* What a recording is known by: who it belongs to (or NULL), and whatever else
 * the arguments of its ops depend on. Compared as bytes: start from zeros. */
typedef struct DeviceKey {
  const void *owner[2];
  int what[4];
} DeviceKey;

/* Ops that are called again and again with the same arguments, while the
 * memory behind them holds other values, may be recorded; a GPU then takes
 * them as one piece of work:
 *
 *   if (!device_replay (dev, &key)) {
 *     device_record (dev, &key);
 *     ...ops...
 *     device_recorded (dev, true);
 *   }
 *
 * replay submits what was recorded under the key, or says false. From record
 * to recorded only ops may be called: no allocation, copy or sync. They are
 * submitted whatever becomes of the recording, of which nothing is kept if
 * they were not `all`. Backends need not record, nor at once. */
bool device_replay (Device *dev, const DeviceKey *key);
void device_record (Device *dev, const DeviceKey *key);
void device_recorded (Device *dev, bool all);

/* Drops the owner's recordings: memory that their ops name is to be freed. */
void device_forget (Device *dev, const void *owner);

/* Record a failure unless there is one already: any, and an allocation that
 * does not fit into what is free. For backends. */
void device_fail (Device *dev, DeviceCode code, const char *format, ...)
    __attribute__ ((format (printf, 3, 4)));
void device_fail_memory (Device *dev, size_t needed_bytes, size_t free_bytes);

#ifdef __cplusplus
}
#endif
