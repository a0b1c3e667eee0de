/* memory.cpp - device and pinned memory between guard pages
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * An allocation ends at a guard page, up to the 255 bytes that alignment
 * costs; those hold a pattern, or are poisoned for AddressSanitizer. New memory
 * is NaN whatever it is read as. Device memory can be touched only while a
 * kernel or a copy runs, pinned memory not while a copy into it is on its way.
 * What is freed stays unmapped for long, so that an old
 * pointer never finds a new allocation.
 */
#include "tests/emu/emu.h"

#include <algorithm>
#include <map>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(start, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(start, bytes)
#define EMU_PATTERN 1
#endif

#define PAGE ((size_t) 4096)
#define ALIGNMENT ((size_t) 256)
#define POISON 0xff
#define SLACK 0xa7
#define POISON_BYTES ((size_t) 4 << 20)
#define MAX_FREED 4096

struct Region {
  char *start; /* of the mapping, a guard page */
  size_t mapped;
  char *user;
  size_t bytes;
  bool pinned, alive;
  int n_pending; /* copies into it */
  int device;
  const void *context; /* NULL: the primary one */
};

static std::map<const char *, Region> regions; /* by start */
static std::deque<const char *> freed;
static std::map<int, size_t> used; /* bytes by device */
static bool is_open;

static size_t
round_up (size_t bytes, size_t to)
{
  return (bytes + to - 1) / to * to;
}

static Region *
find (const void *ptr)
{
  auto next = regions.upper_bound ((const char *) ptr);
  if (next == regions.begin ())
    return NULL;
  Region *region = &std::prev (next)->second;
  return (const char *) ptr < region->start + region->mapped ? region : NULL;
}

bool
emu_is_device (const void *ptr)
{
  Region *region = find (ptr);
  return region && !region->pinned;
}

bool
emu_is_pinned (const void *ptr)
{
  Region *region = find (ptr);
  return region && region->pinned;
}

void
emu_check_range (const void *ptr, size_t bytes, bool pinned, const char *what)
{
  Region *region = find (ptr);
  const char *kind = pinned ? "pinned" : "device";
  if (!region || region->pinned != pinned)
    emu_die ("%s: %p is not %s memory", what, ptr, kind);
  if (!region->alive)
    emu_die ("%s: %p is in %s memory that has been freed", what, ptr, kind);
  if ((const char *) ptr < region->user ||
      (const char *) ptr + bytes > region->user + region->bytes)
    emu_die ("%s: %zu bytes at %p lie outside an allocation of %zu", what,
        bytes, ptr, region->bytes);
}

static void
protect (const Region &region, bool open)
{
  mprotect (region.start + PAGE, region.mapped - 2 * PAGE,
      open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

void
emu_open_memory (bool open)
{
  if (open == is_open)
    return;
  is_open = open;
  for (const auto &entry : regions)
    if (entry.second.alive && !entry.second.pinned && !entry.second.context)
      protect (entry.second, open);
}

void
emu_open_foreign (const void *ptr, bool open)
{
  Region *region = find (ptr);
  if (region && region->alive && region->context)
    protect (*region, open);
}

int
emu_owner (const void *ptr, const void **context)
{
  Region *region = find (ptr);
  if (!region || region->pinned)
    return -1;
  *context = region->context;
  return region->device;
}

void
emu_open_pinned (const void *ptr, bool open)
{
  Region *region = find (ptr);
  if (region && region->alive && region->pinned && region->n_pending)
    protect (*region, open);
}

void
emu_pend (const void *ptr, int change)
{
  Region *region = find (ptr);
  if (!region || !region->alive)
    return;
  region->n_pending += change;
  protect (*region, region->n_pending == 0);
}

/* Private copies of a file of poison, which exist once written: opening and
 * closing memory takes time by the page. */
static bool
map_poison (char *to, size_t bytes)
{
  static int file = -1;
  if (file < 0) {
    std::string poison (POISON_BYTES, (char) POISON);
    file = memfd_create ("poison", MFD_CLOEXEC);
    if (write (file, poison.data (), POISON_BYTES) != (ssize_t) POISON_BYTES)
      emu_die ("no memory to poison new memory with");
  }
  for (size_t at = 0; at < bytes; at += POISON_BYTES)
    if (mmap (to + at, std::min (bytes - at, POISON_BYTES),
            PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
            file, 0) == MAP_FAILED)
      return false;
  return true;
}

static cudaError_t
allocate (
    void **ptr, size_t bytes, bool pinned, int device, const void *context)
{
  size_t rounded = round_up (bytes, ALIGNMENT);
  size_t inside = round_up (rounded, PAGE);
  char *start = (char *) mmap (NULL, inside + 2 * PAGE, PROT_NONE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED || !map_poison (start + PAGE, inside))
    return emu_fail (cudaErrorMemoryAllocation);
  Region region = { start, inside + 2 * PAGE, start + PAGE + inside - rounded,
    bytes, pinned, true, 0, device, context };
#ifdef EMU_PATTERN
  memset (region.user + bytes, SLACK, rounded - bytes);
#endif
  ASAN_POISON_MEMORY_REGION (start + PAGE, region.user - start - PAGE);
  ASAN_POISON_MEMORY_REGION (region.user + bytes, rounded - bytes);
  if (!pinned && (context || !is_open))
    protect (region, false);
  regions[start] = region;
  *ptr = region.user;
  return cudaSuccess;
}

/* Whatever was written between the end and the guard page. */
static void
check_slack (const Region &region)
{
#ifdef EMU_PATTERN
  protect (region, true);
  const unsigned char *end = (unsigned char *) region.user + region.bytes;
  for (; end < (unsigned char *) region.start + region.mapped - PAGE; end++)
    if (*end != SLACK)
      emu_die ("something wrote past the end of an allocation of %zu bytes",
          region.bytes);
#endif
}

static void
forget_oldest ()
{
  Region region = regions[freed.front ()];
  ASAN_UNPOISON_MEMORY_REGION (region.start, region.mapped);
  munmap (region.start, region.mapped);
  regions.erase (freed.front ());
  freed.pop_front ();
}

static cudaError_t
release (void *ptr, bool pinned, const char *what)
{
  EmuLock lock;
  if (!ptr)
    return cudaSuccess;
  emu_check_range (ptr, 0, pinned, what);
  Region *region = find (ptr);
  if (region->user != ptr)
    emu_die ("%s: %p is not the start of an allocation", what, ptr);
  check_slack (*region);
  madvise (region->start + PAGE, region->mapped - 2 * PAGE, MADV_DONTNEED);
  protect (*region, false);
  region->alive = false;
  if (!pinned)
    used[region->device] -= region->bytes;
  freed.push_back (region->start);
  if (freed.size () > MAX_FREED)
    forget_oldest ();
  return cudaSuccess;
}

/* ---- the API ---- */

static size_t
device_bytes ()
{
  cudaDeviceProp prop;
  cudaGetDeviceProperties (&prop, emu_current_device ());
  return prop.totalGlobalMem;
}

cudaError_t
cudaMemGetInfo (size_t *free_bytes, size_t *total)
{
  EmuLock lock;
  *total = device_bytes ();
  size_t taken = used[emu_current_device ()];
  *free_bytes = *total > taken ? *total - taken : 0;
  return emu_status ();
}

cudaError_t
emu_allocate_in (const void *context, int device, void **ptr, size_t bytes)
{
  EmuLock lock;
  cudaDeviceProp prop;
  *ptr = NULL;
  cudaGetDeviceProperties (&prop, device);
  if (bytes + used[device] > prop.totalGlobalMem)
    return emu_fail (cudaErrorMemoryAllocation);
  cudaError_t error = allocate (ptr, bytes, false, device, context);
  if (!error)
    used[device] += bytes;
  return error;
}

cudaError_t
cudaMalloc (void **ptr, size_t bytes)
{
  EmuLock lock;
  *ptr = NULL;
  if (cudaError_t error = emu_refuse_in_capture ())
    return error;
  if (cudaError_t error = emu_status ())
    return error;
  return bytes ? emu_allocate_in (NULL, emu_current_device (), ptr, bytes)
               : cudaSuccess;
}

cudaError_t
cudaFree (void *ptr)
{
  if (cudaError_t error = emu_refuse_in_capture ())
    return error;
  return release (ptr, false, "cudaFree");
}

cudaError_t
cudaHostAlloc (void **ptr, size_t bytes, unsigned)
{
  EmuLock lock;
  if (cudaError_t error = emu_refuse_in_capture ())
    return error;
  return allocate (ptr, bytes, true, emu_current_device (), NULL);
}

cudaError_t
cudaFreeHost (void *ptr)
{
  return release (ptr, true, "cudaFreeHost");
}
