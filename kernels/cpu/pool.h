/* pool.h - the threads of the CPU backend
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A pool is its caller and n_threads - 1 workers. A job is a range of items
 * cut into pieces, and whoever is free takes the next piece. The job ends when
 * its pieces are done: a worker that the system has not let run meanwhile is
 * not waited for, so on a busy machine a job is at worst as slow as on one
 * thread. Workers wait for the next job awake, but only for a moment (they are
 * needed again within microseconds while a network runs), then they sleep.
 * One thread at a time calls these.
 */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

typedef struct CpuPool CpuPool;

/* Does items from .. to-1. `thread` is 0 for the caller and 1 .. n_threads-1
 * for workers, for scratch of their own. */
typedef void (*CpuWork) (void *data, int from, int to, int thread);

/* NULL if the system has no threads or memory left. */
CpuPool *cpu_pool_new (int n_threads);

/* Ends the workers. Accepts NULL. */
void cpu_pool_free (CpuPool *pool);

/* The workers and the caller. */
int cpu_pool_threads (const CpuPool *pool);

/* Does items 0 .. n-1, n >= 0, in pieces of `piece` items, piece >= 1. Not to
 * be called from inside work. */
void cpu_pool_run (CpuPool *pool, int n, int piece, CpuWork work, void *data);

#ifdef __cplusplus
}
#endif
