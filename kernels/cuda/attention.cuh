/* attention.cuh - softmax(scale q k^T) v for a block of queries
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A way to compute it is a type: Act, how many QUERIES a block takes, for how
 * many BLOCKS of a processor there shall be registers, how many bytes of shared
 * memory, and run (), in which keys.key (j) and keys.value (j) point to rows of
 * c. From a multiple of 64 on, 64 rows are
 * keys.stride () apart.
 */
#pragma once

#include "kernels/cuda/attention-mma.cuh"
#include "kernels/cuda/attention-scalar.cuh"

/* Calls f with a value of the way's type. `aligned`: so are all rows, to 16
 * bytes. The way is the shape's affair, so texts do not depend on the batch. */
template <typename T, typename F>
static inline void
with_attention (int c, bool aligned, F f)
{
  if constexpr (sizeof (T) == 2)
    if (c % 8 == 0 && c <= MMA_MAX_WIDTH && aligned) {
      if (c <= 32)
        f (AttMma<T, 32> ());
      else if (c <= 64)
        f (AttMma<T, 64> ());
      else if (c <= 96)
        f (AttMma<T, 96> ());
      else
        f (AttMma<T, 128> ());
      return;
    }
  with_per (c, [&] (auto per) { f (AttScalar<T, decltype (per)::value> ()); });
}

/* Launches a kernel over heads and pieces, a piece's heads side by side: the
 * pieces with the most keys come first, of all heads. */
template <typename Way, typename Args>
static inline void
launch_attention (Device *dev, void (*kernel) (Args), const Args &args,
    int n_rows, int n_sequences)
{
  size_t shared = Way::bytes (args.c);
  allow_shared (dev, kernel, shared);
  LAUNCH (kernel, dim3 (args.h, n_rows / Way::QUERIES + n_sequences),
      ATT_THREADS, shared, cuda_stream (dev), args);
}
