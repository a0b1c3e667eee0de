/* cuda_runtime.h - what a kernel sees: threads, shared memory, warps, atomics
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Stands in for CUDA's header of this name in the emulation. Threads of a
 * block are fibers that run one at a time and change only where they wait for
 * each other, in an order that HIREDVLM_EMU_SEED shuffles.
 */
#pragma once

#include "cuda_runtime_api.h"

#include <functional>
#include <math.h>
#include <string.h>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__ ((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas (n)

/* One block runs at a time; its thread-local segment is poisoned before. */
#define __shared__ static thread_local

/* ---- types ---- */

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3 (unsigned nx = 1, unsigned ny = 1, unsigned nz = 1)
      : x (nx), y (ny), z (nz)
  {
  }
};

#define EMU_VECTOR(name, type)                                                 \
  struct alignas (2 * sizeof (type)) name##2                                   \
  {                                                                            \
    type x, y;                                                                 \
  };                                                                           \
  struct alignas (4 * sizeof (type)) name##4                                   \
  {                                                                            \
    type x, y, z, w;                                                           \
  };                                                                           \
  static inline name##2 make_##name##2(type x, type y)                         \
  {                                                                            \
    return { x, y };                                                           \
  }                                                                            \
  static inline name##4 make_##name##4(type x, type y, type z, type w)         \
  {                                                                            \
    return { x, y, z, w };                                                     \
  }
EMU_VECTOR (float, float)
EMU_VECTOR (int, int)
EMU_VECTOR (uint, unsigned)
#undef EMU_VECTOR

/* ---- a launch ---- */

struct EmuLaunch {
  const char *name;
  const void *kernel;
  dim3 grid, block;
  size_t shared;
  bool early; /* may begin while kernels before it run: waits for them itself */
  std::function<void ()> thread;      /* the kernel over its arguments */
  std::vector<const void *> pointers; /* those among its arguments */
  std::vector<const void *> words;    /* of its structs: pointers among them */
};

void emu_launch (cudaStream_t stream, EmuLaunch launch);

/* Padding is not among the words: it holds whatever was there before. */
template <typename T>
static inline void
emu_note_words (std::vector<const void *> &words, T value)
{
#if __has_builtin(__builtin_clear_padding)
  size_t before = words.size (), n = sizeof value / sizeof words[0];
  __builtin_clear_padding (&value);
  words.resize (before + n);
  memcpy (words.data () + before, &value, n * sizeof words[0]);
#endif
}

template <typename T>
static inline void
emu_note_pointers (EmuLaunch &launch, const T &value)
{
  if constexpr (std::is_pointer_v<T>)
    launch.pointers.push_back ((const void *) value);
  if constexpr (std::is_class_v<T>)
    emu_note_words (launch.words, value);
}

template <typename... P, typename... A>
static inline void
emu_launch_kernel (const char *name, bool early, void (*kernel) (P...),
    dim3 grid, dim3 block, size_t shared, cudaStream_t stream, A &&...args)
{
  std::tuple<std::decay_t<P>...> values (
      static_cast<std::decay_t<P>> (args)...);
  EmuLaunch launch = { name, (const void *) kernel, grid, block, shared, early,
    [kernel, values] { std::apply (kernel, values); }, {}, {} };
  std::apply (
      [&launch] (
          const auto &...value) { (emu_note_pointers (launch, value), ...); },
      values);
  emu_launch (stream, std::move (launch));
}

#define LAUNCH_AS(early, kernel, grid, block, shared, stream, ...)             \
  emu_launch_kernel (                                                          \
      #kernel, early, kernel, grid, block, shared, stream, __VA_ARGS__)

void *emu_dynamic_shared ();
#define DYNAMIC_SHARED(type, name) type *name = (type *) emu_dynamic_shared ()

/* ---- where a thread is ---- */

struct EmuThread {
  uint3 index;
  int number; /* in the block */
};
extern EmuThread *emu_self;
extern uint3 emu_block_index;
extern dim3 emu_block_size, emu_grid_size;

#define threadIdx (emu_self->index)
#define blockIdx emu_block_index
#define blockDim emu_block_size
#define gridDim emu_grid_size
#define warpSize 32

/* ---- waiting for each other ---- */

#define EMU_SITE                                                               \
  const char *file = __builtin_FILE(), int line = __builtin_LINE()

void emu_barrier (const char *file, int line);

/* Returns when all that is before the kernel has run. */
void emu_wait_for_earlier (const char *file, int line);

static inline void
cudaGridDependencySynchronize (EMU_SITE)
{
  emu_wait_for_earlier (file, line);
}

/* Kernels behind this one may begin before it has run, whether it says so or
 * not. */
static inline void
cudaTriggerProgrammaticLaunchCompletion ()
{
}

enum EmuCollective {
  EMU_SYNC,
  EMU_SHUFFLE, /* value of the lane `source` */
  EMU_BALLOT,  /* lanes whose value is not zero */
};
uint64_t emu_collective (EmuCollective what, unsigned mask, uint64_t value,
    int source, const char *file, int line);

static inline void
__syncthreads (EMU_SITE)
{
  emu_barrier (file, line);
}

static inline void
__syncwarp (unsigned mask = 0xffffffff, EMU_SITE)
{
  emu_collective (EMU_SYNC, mask, 0, 0, file, line);
}

template <typename T>
static inline T
emu_shuffle (unsigned mask, T value, int source, const char *file, int line)
{
  static_assert (sizeof (T) <= 8 && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  memcpy (&bits, &value, sizeof value);
  bits = emu_collective (EMU_SHUFFLE, mask, bits, source, file, line);
  memcpy (&value, &bits, sizeof value);
  return value;
}

static inline int
emu_lane ()
{
  return emu_self->number % 32;
}

/* A source beyond the segment of `width` lanes is the lane itself. */
static inline int
emu_in_segment (int lane, int width)
{
  int first = emu_lane () / width * width;
  return lane < first || lane >= first + width ? emu_lane () : lane;
}

template <typename T>
static inline T
__shfl_sync (unsigned mask, T value, int lane, int width = 32, EMU_SITE)
{
  int first = emu_lane () / width * width;
  return emu_shuffle (mask, value, first + (lane & (width - 1)), file, line);
}

template <typename T>
static inline T
__shfl_xor_sync (unsigned mask, T value, int bits, int width = 32, EMU_SITE)
{
  return emu_shuffle (
      mask, value, emu_in_segment (emu_lane () ^ bits, width), file, line);
}

template <typename T>
static inline T
__shfl_down_sync (unsigned mask, T value, int by, int width = 32, EMU_SITE)
{
  return emu_shuffle (
      mask, value, emu_in_segment (emu_lane () + by, width), file, line);
}

template <typename T>
static inline T
__shfl_up_sync (unsigned mask, T value, int by, int width = 32, EMU_SITE)
{
  return emu_shuffle (
      mask, value, emu_in_segment (emu_lane () - by, width), file, line);
}

static inline unsigned
__ballot_sync (unsigned mask, int predicate, EMU_SITE)
{
  return (unsigned) emu_collective (
      EMU_BALLOT, mask, predicate != 0, 0, file, line);
}

static inline int
__any_sync (unsigned mask, int predicate, EMU_SITE)
{
  return emu_collective (EMU_BALLOT, mask, predicate != 0, 0, file, line) != 0;
}

static inline int
__all_sync (unsigned mask, int predicate, EMU_SITE)
{
  return emu_collective (EMU_BALLOT, mask, predicate != 0, 0, file, line) ==
         mask;
}

/* ---- atomics: only one thread runs at a time ---- */

template <typename T, typename F>
static inline T
emu_atomic (T *where, F change)
{
  T old = *where;
  *where = change (old);
  return old;
}

template <typename T>
static inline T
atomicAdd (T *where, T value)
{
  return emu_atomic (where, [value] (T old) { return old + value; });
}

template <typename T>
static inline T
atomicMax (T *where, T value)
{
  return emu_atomic (
      where, [value] (T old) { return old > value ? old : value; });
}

template <typename T>
static inline T
atomicMin (T *where, T value)
{
  return emu_atomic (
      where, [value] (T old) { return old < value ? old : value; });
}

static inline void
__threadfence ()
{
}

/* ---- arithmetic ---- */

#define __expf(x) expf (x) /* libm has an __expf of its own */
#define __fdividef(x, y) ((x) / (y))

static inline float
__fmul_rn (float a, float b)
{
  volatile float product = a * b; /* never fused with a sum */
  return product;
}

static inline float
__fadd_rn (float a, float b)
{
  volatile float sum = a + b;
  return sum;
}

static inline float
rsqrtf (float x)
{
  return 1 / sqrtf (x);
}

template <typename T>
static inline T
__ldg (const T *x)
{
  return *x;
}

template <typename T>
static inline T
__ldcs (const T *x)
{
  return *x;
}

static inline int
__popc (unsigned x)
{
  return __builtin_popcount (x);
}

static inline int
__ffs (unsigned x)
{
  return __builtin_ffs ((int) x);
}

static inline unsigned
__float_as_uint (float x)
{
  unsigned bits;
  memcpy (&bits, &x, sizeof bits);
  return bits;
}

static inline float
__uint_as_float (unsigned bits)
{
  float x;
  memcpy (&x, &bits, sizeof x);
  return x;
}

template <typename T>
static inline T
min (T a, T b)
{
  return b < a ? b : a;
}

template <typename T>
static inline T
max (T a, T b)
{
  return a < b ? b : a;
}
