/* cuda_pipeline.h - copies into shared memory that a thread waits for later
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Stands in for CUDA's header of this name in the emulation. What a copy is to
 * overwrite is poison from when it is asked for, and it takes place when the
 * thread waits for it, the latest that the hardware may.
 */
#pragma once

#include "cuda_runtime.h"

/* bytes - zeros of them are copied, the rest of `to` becomes 0. */
void emu_copy_async (void *to, const void *from, size_t bytes, size_t zeros);

/* Those asked for since the last call are a group. */
void emu_copies_commit ();

/* Until all groups but the latest n are complete. */
void emu_copies_wait (size_t n);

static inline void
__pipeline_memcpy_async (
    void *to, const void *from, size_t bytes, size_t zeros = 0)
{
  emu_copy_async (to, from, bytes, zeros);
}

static inline void
__pipeline_commit ()
{
  emu_copies_commit ();
}

static inline void
__pipeline_wait_prior (size_t n)
{
  emu_copies_wait (n);
}
