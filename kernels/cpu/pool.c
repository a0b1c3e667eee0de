/* pool.c - the threads of the CPU backend
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Pieces are claimed from one word, the number of the job above its next item.
 * A job is described while its word has no items to claim and replaced when
 * its last piece is done, so whoever exchanges the word successfully has read
 * of the job that the word belongs to.
 */
#include "kernels/cpu/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LINE 64 /* bytes that caches hand around together */

/* How long to wait awake: longer than what lies between the operations of a
 * network, shorter than anybody else would miss the processor. */
#define AWAKE_NS 50000
#define LOOKS_PER_CLOCK 64 /* at the word, between looks at the clock */

typedef struct Worker {
  struct CpuPool *pool;
  int index;
  pthread_t thread;
} Worker;

struct CpuPool {
  int n_workers;
  Worker *workers;
  _Alignas(LINE) _Atomic uint64_t next; /* job << 32 | its next item */
  /* the job */
  _Atomic int n, piece;
  _Atomic CpuWork work;
  _Atomic (void *) data;
  _Alignas(LINE) atomic_int n_done; /* items */
  _Alignas(LINE) atomic_int n_asleep;
  atomic_bool caller_sleeps, closing;
  pthread_mutex_t lock; /* for going to sleep and waking up only */
  pthread_cond_t wake, done;
};

static inline void
relax (void)
{
#ifdef __x86_64__
  __builtin_ia32_pause ();
#elif defined __aarch64__
  __asm__ volatile("yield");
#endif
}

static int64_t
now_ns (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return t.tv_sec * INT64_C (1000000000) + t.tv_nsec;
}

/* Looks until `ready` or for AWAKE_NS. */
static bool
wait_awake (CpuPool *pool, bool (*ready) (CpuPool *))
{
  int64_t start = 0;
  for (;;) {
    for (int i = 0; i < LOOKS_PER_CLOCK; i++, relax ())
      if (ready (pool))
        return true;
    int64_t now = now_ns ();
    if (start == 0)
      start = now;
    else if (now - start > AWAKE_NS)
      return false;
  }
}

static int
item_of (uint64_t next)
{
  return (int) (uint32_t) next;
}

/* Does one piece if there is one. */
static bool
do_piece (CpuPool *pool, int thread)
{
  uint64_t next = atomic_load (&pool->next);
  for (;;) {
    int n = atomic_load (&pool->n), from = item_of (next);
    int to = n - from > atomic_load (&pool->piece)
                 ? from + atomic_load (&pool->piece)
                 : n;
    CpuWork work = atomic_load (&pool->work);
    void *data = atomic_load (&pool->data);
    if (from >= n)
      return false;
    if (!atomic_compare_exchange_weak (
            &pool->next, &next, next + (uint64_t) (to - from)))
      continue;
    work (data, from, to, thread);
    if (atomic_fetch_add (&pool->n_done, to - from) + to - from == n &&
        atomic_load (&pool->caller_sleeps)) {
      pthread_mutex_lock (&pool->lock);
      pthread_cond_signal (&pool->done);
      pthread_mutex_unlock (&pool->lock);
    }
    return true;
  }
}

/* ---- workers ---- */

static bool
has_pieces (CpuPool *pool)
{
  return item_of (atomic_load (&pool->next)) < atomic_load (&pool->n) ||
         atomic_load (&pool->closing);
}

static void
sleep_until_needed (CpuPool *pool)
{
  pthread_mutex_lock (&pool->lock);
  atomic_fetch_add (&pool->n_asleep, 1);
  while (!has_pieces (pool))
    pthread_cond_wait (&pool->wake, &pool->lock);
  atomic_fetch_sub (&pool->n_asleep, 1);
  pthread_mutex_unlock (&pool->lock);
}

static void *
run_worker (void *data)
{
  Worker *worker = data;
  CpuPool *pool = worker->pool;
  while (!atomic_load (&pool->closing)) {
    while (do_piece (pool, worker->index))
      ;
    if (!wait_awake (pool, has_pieces))
      sleep_until_needed (pool);
  }
  return NULL;
}

/* Workers take no signals: these are the application's. */
static bool
start_workers (CpuPool *pool, int n)
{
  sigset_t all, before;
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  for (; pool->n_workers < n; pool->n_workers++) {
    Worker *worker = &pool->workers[pool->n_workers];
    *worker = (Worker){ .pool = pool, .index = pool->n_workers + 1 };
    if (pthread_create (&worker->thread, NULL, run_worker, worker))
      break;
  }
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  return pool->n_workers == n;
}

CpuPool *
cpu_pool_new (int n_threads)
{
  size_t bytes = (sizeof (CpuPool) + LINE - 1) / LINE * LINE;
  CpuPool *pool = aligned_alloc (LINE, bytes);
  if (!pool)
    return NULL;
  memset (pool, 0, sizeof *pool);
  pthread_mutex_init (&pool->lock, NULL);
  pthread_cond_init (&pool->wake, NULL);
  pthread_cond_init (&pool->done, NULL);
  pool->workers = calloc (n_threads, sizeof *pool->workers);
  if (!pool->workers || !start_workers (pool, n_threads - 1)) {
    cpu_pool_free (pool);
    return NULL;
  }
  return pool;
}

void
cpu_pool_free (CpuPool *pool)
{
  if (!pool)
    return;
  pthread_mutex_lock (&pool->lock);
  atomic_store (&pool->closing, true);
  pthread_cond_broadcast (&pool->wake);
  pthread_mutex_unlock (&pool->lock);
  for (int i = 0; i < pool->n_workers; i++)
    pthread_join (pool->workers[i].thread, NULL);
  pthread_cond_destroy (&pool->done);
  pthread_cond_destroy (&pool->wake);
  pthread_mutex_destroy (&pool->lock);
  free (pool->workers);
  free (pool);
}

int
cpu_pool_threads (const CpuPool *pool)
{
  return pool->n_workers + 1;
}

/* ---- the caller ---- */

static bool
is_done (CpuPool *pool)
{
  return atomic_load (&pool->n_done) == atomic_load (&pool->n);
}

/* The lock is only taken if somebody sleeps. */
static void
wake_workers (CpuPool *pool, int n_pieces)
{
  int n_asleep = atomic_load (&pool->n_asleep);
  if (n_asleep == 0)
    return;
  pthread_mutex_lock (&pool->lock);
  if (n_pieces > n_asleep)
    pthread_cond_broadcast (&pool->wake);
  else
    for (int i = 0; i < n_pieces - 1; i++)
      pthread_cond_signal (&pool->wake);
  pthread_mutex_unlock (&pool->lock);
}

static void
wait_for_the_rest (CpuPool *pool)
{
  if (wait_awake (pool, is_done))
    return;
  pthread_mutex_lock (&pool->lock);
  atomic_store (&pool->caller_sleeps, true);
  while (!is_done (pool))
    pthread_cond_wait (&pool->done, &pool->lock);
  atomic_store (&pool->caller_sleeps, false);
  pthread_mutex_unlock (&pool->lock);
}

void
cpu_pool_run (CpuPool *pool, int n, int piece, CpuWork work, void *data)
{
  if (n <= piece || pool->n_workers == 0) {
    if (n > 0)
      work (data, 0, n, 0);
    return;
  }
  uint64_t job = (atomic_load (&pool->next) >> 32) + 1;
  atomic_store (&pool->next, job << 32 | INT32_MAX);
  atomic_store (&pool->n_done, 0);
  atomic_store (&pool->piece, piece);
  atomic_store (&pool->work, work);
  atomic_store (&pool->data, data);
  atomic_store (&pool->n, n);
  atomic_store (&pool->next, job << 32);
  wake_workers (pool, (n - 1) / piece + 1);
  while (do_piece (pool, 0))
    ;
  wait_for_the_rest (pool);
}
