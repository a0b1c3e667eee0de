/* pool.c - the CPU backend's threads: every item once, no thread too many
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "kernels/cpu/pool.h"

#include <glib.h>
#include <pthread.h>

#include "kernels/cpu/cpu.h"

#define N_ITEMS 5000

typedef struct {
  int n_threads;
  guint8 *times; /* each item was done */
  int bad;       /* calls with a thread that there is not */
} Count;

static void
count_items (gpointer data, int from, int to, int thread)
{
  Count *count = data;

  if (thread < 0 || thread >= count->n_threads)
    g_atomic_int_inc (&count->bad);
  for (int i = from; i < to; i++)
    count->times[i]++;
}

static void
check_job (CpuPool *pool, int n, int piece)
{
  g_autofree guint8 *times = g_new0 (guint8, N_ITEMS + 1);
  Count count = { cpu_pool_threads (pool), times, 0 };

  cpu_pool_run (pool, n, piece, count_items, &count);
  g_assert_cmpint (count.bad, ==, 0);
  for (int i = 0; i <= N_ITEMS; i++)
    g_assert_cmpint (times[i], ==, i < n);
}

/* Jobs follow each other at once, so that workers meet the next one in every
 * state, and what a job wrote is there when it ends. */
static void
test_items (void)
{
  static const int sizes[] = { 0, 1, 2, 7, 64, 1000, N_ITEMS };
  static const int pieces[] = { 1, 3, 64, N_ITEMS };

  for (int n_threads = 1; n_threads <= 5; n_threads++) {
    CpuPool *pool = cpu_pool_new (n_threads);

    g_assert_cmpint (cpu_pool_threads (pool), ==, n_threads);
    for (int round = 0; round < 30; round++)
      for (gsize i = 0; i < G_N_ELEMENTS (sizes); i++)
        for (gsize j = 0; j < G_N_ELEMENTS (pieces); j++)
          check_job (pool, sizes[i], pieces[j]);
    cpu_pool_free (pool);
  }
}

/* Workers that have gone to sleep are woken. */
static void
test_pauses (void)
{
  CpuPool *pool = cpu_pool_new (3);

  for (int round = 0; round < 20; round++) {
    g_usleep (round * 500);
    check_job (pool, 100, 1);
  }
  cpu_pool_free (pool);
}

typedef struct {
  pthread_mutex_t lock; /* not GLib's, which thread checkers do not know */
  pthread_cond_t cond;
  int n_here, n_wanted;
  guint threads; /* one bit each */
} Meeting;

/* Returns when all are here, each on a thread of its own. */
static void
meet (gpointer data, int from, int to, int thread)
{
  Meeting *m = data;

  pthread_mutex_lock (&m->lock);
  g_assert_cmpint (m->threads & 1u << thread, ==, 0);
  m->threads |= 1u << thread;
  if (++m->n_here == m->n_wanted)
    pthread_cond_broadcast (&m->cond);
  while (m->n_here < m->n_wanted)
    pthread_cond_wait (&m->cond, &m->lock);
  pthread_mutex_unlock (&m->lock);
}

/* As many as a device was opened with work at the same time, not one less. */
static void
test_together (void)
{
  for (int n_threads = 1; n_threads <= 4; n_threads++) {
    Device *dev = device_open ("cpu", n_threads, NULL);
    Meeting m = { .n_wanted = n_threads };
    Cpu *cpu = dev->backend;

    pthread_mutex_init (&m.lock, NULL);
    pthread_cond_init (&m.cond, NULL);
    g_assert_cmpint (dev->n_threads, ==, n_threads);
    g_assert_cmpint (cpu_pool_threads (cpu->pool), ==, n_threads);
    cpu_run (dev, CPU_WORTH, n_threads, 1, meet, &m);
    g_assert_cmpuint (m.threads, ==, (1u << n_threads) - 1);
    pthread_cond_destroy (&m.cond);
    pthread_mutex_destroy (&m.lock);
    device_close (dev);
  }
}

static void
note_thread (gpointer data, int from, int to, int thread)
{
  *(gboolean *) data &= thread == 0 && to - from == 100;
}

/* What is not worth a second thread stays whole, on the caller's. */
static void
test_small (void)
{
  Device *dev = device_open ("cpu", 4, NULL);
  gboolean alone = TRUE;

  for (int i = 0; i < 100; i++)
    cpu_run (dev, CPU_WORTH - 1, 100, 1, note_thread, &alone);
  g_assert_true (alone);
  device_close (dev);
}

static gpointer
run_own_pool (gpointer data)
{
  CpuPool *pool = cpu_pool_new (2);

  for (int i = 0; i < 200; i++)
    check_job (pool, 100 + i, 1 + i % 5);
  cpu_pool_free (pool);
  return NULL;
}

/* Pools know nothing of each other. */
static void
test_several (void)
{
  GThread *threads[4];

  for (gsize i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("pool", run_own_pool, NULL);
  for (gsize i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/pool/items", test_items);
  g_test_add_func ("/pool/pauses", test_pauses);
  g_test_add_func ("/pool/together", test_together);
  g_test_add_func ("/pool/small", test_small);
  g_test_add_func ("/pool/several", test_several);
  return g_test_run ();
}
