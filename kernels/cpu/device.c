/* device.c - the processor as a device: open, threads, memory, scratch
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#define _GNU_SOURCE /* sched_getaffinity */
#include "kernels/cpu/cpu.h"

#include "kernels/cpu/onednn.h"
#include "kernels/cpu/variants.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ALIGNMENT 64
#define HUGE_PAGE ((size_t) 2 << 20)

void *
cpu_bytes_new (size_t bytes)
{
  /* Large arrays on large pages: streaming weights is bound by memory, and
   * misses of the translation cache cost a good part of it. */
  size_t alignment = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;
  if (bytes > SIZE_MAX - alignment)
    return NULL;
  size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void *ptr = aligned_alloc (alignment, rounded ? rounded : alignment);
  if (ptr && alignment == HUGE_PAGE)
    madvise (ptr, rounded, MADV_HUGEPAGE);
  return ptr;
}

/* A number out of a small file of the kernel's, or SIZE_MAX. */
static size_t
read_size (const char *path, const char *key)
{
  FILE *file = fopen (path, "r");
  if (!file)
    return SIZE_MAX;
  size_t value = SIZE_MAX;
  char line[128];
  while (value == SIZE_MAX && fgets (line, sizeof line, file))
    if (!strncmp (line, key, strlen (key)) &&
        sscanf (line + strlen (key), "%zu", &value) != 1)
      break;
  fclose (file);
  return value;
}

/* What a container may still take; its cached files give way. */
static size_t
group_memory_free (void)
{
  const char *stat = "/sys/fs/cgroup/memory.stat";
  size_t limit = read_size ("/sys/fs/cgroup/memory.max", "");
  size_t used = read_size ("/sys/fs/cgroup/memory.current", "");
  if (limit == SIZE_MAX || used == SIZE_MAX)
    return SIZE_MAX;
  size_t active = read_size (stat, "active_file ");
  size_t inactive = read_size (stat, "inactive_file ");
  if (active != SIZE_MAX && inactive != SIZE_MAX && active + inactive < used)
    used -= active + inactive;
  return limit > used ? limit - used : 0;
}

static size_t
memory_free (Device *dev)
{
  size_t kib = read_size ("/proc/meminfo", "MemAvailable:");
  size_t system = kib == SIZE_MAX ? SIZE_MAX : kib * 1024;
  size_t group = group_memory_free ();
  return group < system ? group : system;
}

/* The system promises more than it has and kills whoever uses it: what is
 * large is only taken while there is room. */
#define LARGE_BYTES ((size_t) 64 << 20)

static void *
cpu_alloc (Device *dev, size_t bytes)
{
  bool fits = bytes < LARGE_BYTES || bytes <= memory_free (dev);
  void *ptr = fits ? cpu_bytes_new (bytes) : NULL;
  if (!ptr)
    device_fail_memory (dev, bytes, memory_free (dev));
  return ptr;
}

static void
cpu_free (Device *dev, void *ptr)
{
  free (ptr);
}

void *
cpu_scratch (Device *dev, size_t bytes)
{
  Cpu *cpu = dev->backend;
  if (bytes <= cpu->scratch_bytes)
    return cpu->scratch;
  free (cpu->scratch);
  cpu->scratch = cpu_alloc (dev, bytes);
  cpu->scratch_bytes = cpu->scratch ? bytes : 0;
  return cpu->scratch;
}

void
cpu_run (Device *dev, size_t cost, int n, int piece, CpuWork work, void *data)
{
  const Cpu *cpu = dev->backend;
  int few = 4 * dev->n_threads;
  if (cost < CPU_WORTH)
    piece = n;
  else if (piece == 0)
    piece = (n + few - 1) / few;
  cpu_pool_run (cpu->pool, n, piece, work, data);
}

static void
copy (Device *dev, void *dst, const void *src, size_t bytes)
{
  if (bytes)
    memcpy (dst, src, bytes);
}

static void
mark (Device *dev, int i)
{
  Cpu *cpu = dev->backend;
  clock_gettime (CLOCK_MONOTONIC, &cpu->marks[i]);
}

static double
marked_us (Device *dev, int from, int to)
{
  const Cpu *cpu = dev->backend;
  const struct timespec *a = &cpu->marks[from], *b = &cpu->marks[to];
  return (b->tv_sec - a->tv_sec) * 1e6 + (b->tv_nsec - a->tv_nsec) * 1e-3;
}

static void
sync_nothing (Device *dev)
{
}

static void
cpu_close (Device *dev)
{
  Cpu *cpu = dev->backend;
  cpu_pool_free (cpu->pool);
  onednn_free (cpu->onednn);
  free (cpu->scratch);
  free (cpu);
  free (dev);
}

void
cpu_init_memory (Ops *op)
{
  op->alloc = cpu_alloc;
  op->free = cpu_free;
  op->memory_free = memory_free;
  op->upload = copy;
  op->download = copy;
  op->host_alloc = cpu_alloc;
  op->host_free = cpu_free;
  op->fetch = copy;
  op->mark = mark;
  op->marked_us = marked_us;
  op->copy = copy;
  op->sync = sync_nothing;
  op->close = cpu_close;
}

/* ---- recording: submitting costs nothing here ---- */

static bool
replay (Device *dev, const DeviceKey *key)
{
  return false;
}

static void
record (Device *dev, const DeviceKey *key)
{
}

static void
recorded (Device *dev, bool all)
{
}

static void
forget (Device *dev, const void *owner)
{
}

static void
cpu_init_recording (Ops *op)
{
  op->replay = replay;
  op->record = record;
  op->recorded = recorded;
  op->forget = forget;
}

static void
fill_ops (Ops *op, CpuLevel level, bool has_bf16)
{
  cpu_init_memory (op);
  cpu_init_recording (op);
  cpu_init_matmul (op);
  cpu_init_norm (op);
  cpu_init_elementwise (op);
  cpu_init_merge (op);
  cpu_init_attention (op);
  cpu_init_key_attention (op);
  cpu_init_listed (op);
  cpu_init_listed_choice (op);
  cpu_init_choice (op);
  cpu_init_rope (op);
  cpu_init_sample (op);
  cpu_init_resize (op);
  cpu_init_patches (op);
  cpu_init_pixels (op);
#ifdef __x86_64__
  if (level >= CPU_LEVEL_AVX2)
    cpu_init_simd_avx2 (op);
  if (level >= CPU_LEVEL_AVX512)
    cpu_init_simd_avx512 (op);
  if (has_bf16)
    cpu_init_matmul_bf16 (op);
#endif
}

/* As many as this process may run on. */
static int
processors (void)
{
  cpu_set_t set;
  long online = sysconf (_SC_NPROCESSORS_ONLN);
  if (!sched_getaffinity (0, sizeof set, &set))
    return CPU_COUNT (&set);
  return online > 0 ? (int) online : 1;
}

static Device *
refuse (DeviceStatus *status, DeviceCode code, const char *reason)
{
  status->code = code;
  snprintf (status->message, sizeof status->message, "%s", reason);
  return NULL;
}

Device *
cpu_open (CpuLevel level, int n_threads, DeviceStatus *status)
{
  bool has_bf16;
  CpuLevel best = cpu_level_probe (&has_bf16);
  if (level == CPU_LEVEL_BEST)
    level = best;
  has_bf16 = has_bf16 && level == CPU_LEVEL_AVX512;
  if (level > best)
    return refuse (status, DEVICE_UNAVAILABLE,
        "this processor lacks the instructions that the device asks for");
  Device *dev = calloc (1, sizeof *dev);
  Cpu *cpu = calloc (1, sizeof *cpu);
  if (!dev || !cpu) {
    free (dev);
    free (cpu);
    return refuse (status, DEVICE_NO_MEMORY, "out of memory");
  }
  n_threads = n_threads > 0 ? n_threads : processors ();
  cpu->pool = cpu_pool_new (n_threads);
  if (!cpu->pool) {
    free (dev);
    free (cpu);
    return refuse (
        status, DEVICE_NO_MEMORY, "the system starts no more threads");
  }
  fill_ops (&cpu->op, level, has_bf16);
  if (has_bf16 && onednn_has_amx ())
    cpu->onednn = onednn_new ();
  cpu->level = level;
  dev->op = &cpu->op;
  dev->backend = cpu;
  dev->gpu = -1;
  dev->n_threads = n_threads;
  dev->act_type = TYPE_F32;
  dev->act_bytes = sizeof (float);
  dev->has_bf16 = has_bf16;
  snprintf (dev->name, sizeof dev->name, "cpu (%s, %d thread%s)",
      cpu_level_name (level), dev->n_threads, dev->n_threads > 1 ? "s" : "");
  return dev;
}
