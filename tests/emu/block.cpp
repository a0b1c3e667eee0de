/* block.cpp - a grid's blocks, their threads, barriers and warps
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A thread runs until it waits or ends; which ready thread runs next is drawn:
 * the warp, which is left when none of its lanes is ready and now and then
 * before (its threads' stacks stay in the processor's first cache), and in what
 * order its lanes follow each other until they have met.
 * So a value that another thread should have written behind a barrier that is
 * not there has, in most orders, not been written yet. A thread has a fiber of
 * its own only from when it begins to when it ends, and ends mostly hand
 * theirs on: threads that never wait are a loop.
 */
#include "tests/emu/emu.h"
#include "tests/emu/fiber.h"

#include <algorithm>
#include <link.h>
#include <numeric>

#define MAX_THREADS 1024
#define LANES 32
#define STAY                                                                   \
  8 /* times of which a warp is left once although it could go on              \
     */
#define POISON 0xff /* as any float type: NaN; as an index: -1 */

#define MAX_FIBERS (16 * MAX_THREADS) /* of suspended blocks, too */

enum State { READY, AT_BARRIER, IN_WARP, AT_EARLIER, ENDED };

struct Site {
  const char *file;
  int line;
  bool
  operator== (const Site &other) const
  {
    return line == other.line &&
           (file == other.file || !strcmp (file, other.file));
  }
};

struct Thread : EmuThread {
  State state;
  Fiber *fiber; /* while it has begun and not ended */
  Site site;    /* where it waits */
  unsigned mask;
};

/* Lanes that may run follow each other by `stride`, which is odd, from `lane`
 * on. How many lanes wait in a warp's operation, all at one site with one mask
 * (of n_wanted lanes) unless `mixed`, and how many are at a barrier or have
 * ended. */
struct Warp {
  unsigned ready, lane, stride;
  int n_waiting, n_away, n_wanted;
  bool mixed;
  Site site;
  unsigned mask;
};

/* What a warp's lanes bring to its operation, and what they get. */
struct Exchange {
  unsigned source[LANES];
  uint64_t value[LANES], result[LANES];
};

EmuThread *emu_self;
uint3 emu_block_index;
dim3 emu_block_size, emu_grid_size;

static Thread threads[MAX_THREADS];
static Warp warps[MAX_THREADS / LANES];
static Exchange exchanges[MAX_THREADS / LANES];
static int n_threads, n_waiting, n_ended;
static int running = -1;        /* the warp that goes on, or none */
static unsigned able_warps;     /* a bit for each that has lanes ready */
static Fiber *idle[MAX_FIBERS]; /* no vector: gone before leaks are sought */
static int n_idle;
static const EmuLaunch *current;
static std::vector<char> dynamic_shared;
static bool is_early;   /* what is before the kernel has not run yet */
static bool has_waited; /* a thread of the block, for that */

std::string
emu_where ()
{
  if (!current)
    return "";
  std::string where = std::string ("kernel ") + current->name;
  auto add = [&where] (const char *what, uint3 at) {
    where += std::string (", ") + what + " " + std::to_string (at.x) + " " +
             std::to_string (at.y) + " " + std::to_string (at.z);
  };
  add ("block", emu_block_index);
  if (emu_self)
    add ("thread", emu_self->index);
  return where;
}

void *
emu_dynamic_shared ()
{
  return dynamic_shared.data ();
}

/* ---- waiting ---- */

/* The lanes go on, in an order that is drawn. */
static void
make_ready (int warp, unsigned lanes)
{
  unsigned drawn = emu_random (LANES * LANES / 2 * STAY);
  warps[warp].ready |= lanes;
  warps[warp].lane = drawn % LANES;
  warps[warp].stride = drawn / LANES * 2 % LANES + 1;
  able_warps |= 1u << warp;
  if (drawn / (LANES * LANES / 2) == 0)
    running = -1;
}

static void
make_all_ready ()
{
  for (int first = 0; first < n_threads; first += LANES) {
    int n = std::min (n_threads - first, LANES);
    for (int i = first; i < first + n; i++)
      threads[i].state = READY;
    warps[first / LANES].n_away = 0;
    make_ready (first / LANES, ~0u >> (LANES - n));
  }
  running = -1;
}

static int
draw_warp ()
{
  unsigned left = able_warps;
  for (unsigned n = emu_random ((unsigned) __builtin_popcount (left)); n; n--)
    left &= left - 1;
  return __builtin_ctz (left);
}

static Thread *
draw_ready ()
{
  if (!able_warps)
    return NULL;
  if (running < 0 || !warps[running].ready)
    running = draw_warp ();
  Warp *warp = &warps[running];
  do
    warp->lane = (warp->lane + warp->stride) % LANES;
  while (!(warp->ready >> warp->lane & 1));
  warp->ready &= ~(1u << warp->lane);
  if (!warp->ready)
    able_warps &= ~(1u << running);
  return &threads[running * LANES + (int) warp->lane];
}

static void fiber_body ();

/* Runs others until the calling thread, or the host, is to go on. */
static void
let_others_run ()
{
  Thread *self = (Thread *) emu_self, *next = draw_ready ();
  emu_self = next;
  if (next && next == self)
    return;
  if (next && !next->fiber)
    next->fiber = n_idle ? idle[--n_idle] : fiber_new (fiber_body);
  fiber_change (next ? next->fiber : NULL);
}

static Thread *
wait (State state, const char *file, int line)
{
  Thread *self = (Thread *) emu_self;
  self->state = state;
  self->site = { file, line };
  return self;
}

/* Dies if a lane of self's warp waits for self, which is doing something
 * else: `self` in a warp's operation itself may do the same. */
static void
check_not_awaited (const Thread *self, const char *doing)
{
  int first = self->number / LANES * LANES;
  if (!warps[self->number / LANES].n_waiting)
    return;
  for (int i = first; i < std::min (first + LANES, n_threads); i++) {
    const Thread *other = &threads[i];
    bool awaits = other->state == IN_WARP && other != self &&
                  (other->mask >> (self->number % LANES) & 1);
    bool alike = self->state == IN_WARP && other->site == self->site &&
                 other->mask == self->mask;
    if (awaits && !alike)
      emu_die (
          "divergent warp: thread %d waits for this one at %s:%d, which %s", i,
          other->site.file, other->site.line, doing);
  }
}

void
emu_barrier (const char *file, int line)
{
  Thread *self = wait (AT_BARRIER, file, line);
  check_not_awaited (self, "is at __syncthreads");
  n_waiting++;
  warps[self->number / LANES].n_away++;
  if (n_ended)
    emu_die ("divergent __syncthreads at %s:%d: a thread has left the kernel",
        file, line);
  if (n_waiting == n_threads) {
    n_waiting = 0;
    for (int i = 0; i < n_threads; i++)
      if (!(threads[i].site == self->site))
        emu_die ("divergent __syncthreads: some threads are at %s:%d, others "
                 "at %s:%d",
            file, line, threads[i].site.file, threads[i].site.line);
    make_all_ready ();
  }
  let_others_run ();
}

void
emu_wait_for_earlier (const char *file, int line)
{
  has_waited = true;
  if (!is_early)
    return;
  Thread *self = wait (AT_EARLIER, file, line);
  if (emu_has_copies (self->number))
    emu_die ("%s:%d: to wait for earlier kernels with copies on their way is "
             "not emulated",
        file, line);
  let_others_run ();
}

/* Whether all lanes of the mask have come; dies if one cannot. */
static bool
all_lanes_wait (const Thread *self, int first)
{
  bool all = true;
  for (int lane = 0; lane < LANES; lane++) {
    if (!(self->mask >> lane & 1))
      continue;
    const Thread *other = &threads[first + lane];
    if (first + lane >= n_threads)
      emu_die ("mask %#x at %s:%d has lanes the block has not", self->mask,
          self->site.file, self->site.line);
    if (other->state == ENDED || other->state == AT_BARRIER)
      emu_die ("divergent warp at %s:%d: thread %d %s", self->site.file,
          self->site.line, other->number,
          other->state == ENDED ? "has left the kernel"
                                : "is at __syncthreads");
    if (other->state == IN_WARP &&
        (!(other->site == self->site) || other->mask != self->mask))
      emu_die ("divergent warp: mask %#x at %s:%d, but thread %d has mask %#x "
               "at %s:%d",
          self->mask, self->site.file, self->site.line, other->number,
          other->mask, other->site.file, other->site.line);
    all = all && other->state == IN_WARP;
  }
  return all;
}

static uint64_t
ballot (const Exchange *of, unsigned mask)
{
  uint64_t lanes = 0;
  for (int lane = 0; lane < LANES; lane++)
    if (mask >> lane & 1 && of->value[lane])
      lanes |= (uint64_t) 1 << lane;
  return lanes;
}

/* A lane outside the mask gives nothing defined. */
static void
shuffle (Exchange *of, unsigned mask)
{
  for (int lane = 0; lane < LANES; lane++) {
    unsigned source = of->source[lane];
    if (mask >> lane & 1)
      of->result[lane] = mask >> source & 1 ? of->value[source] : ~(uint64_t) 0;
  }
}

static void
finish_collective (EmuCollective what, unsigned mask, int first)
{
  Exchange *of = &exchanges[first / LANES];
  uint64_t lanes = what == EMU_BALLOT ? ballot (of, mask) : 0;
  if (what == EMU_SHUFFLE)
    shuffle (of, mask);
  for (int lane = 0; lane < LANES; lane++)
    if (mask >> lane & 1) {
      threads[first + lane].state = READY;
      if (what == EMU_BALLOT)
        of->result[lane] = lanes;
    }
  warps[first / LANES].n_waiting -= __builtin_popcount (mask);
  make_ready (first / LANES, mask);
}

/* Whether self completes its operation. The common case, all lanes of the
 * warp at one place, needs no look at the others. */
static bool
completes (const Thread *self, Warp *warp, int first)
{
  bool alone = warp->n_waiting == 1;
  if (alone) {
    warp->mixed = false;
    warp->site = self->site;
    warp->mask = self->mask;
    warp->n_wanted = __builtin_popcount (self->mask);
  }
  bool alike = !warp->mixed && warp->n_away == 0 &&
               first + LANES <= n_threads && warp->site == self->site &&
               warp->mask == self->mask;
  if (alike)
    return warp->n_waiting == warp->n_wanted;
  warp->mixed = true;
  check_not_awaited (self, "is in another operation");
  return all_lanes_wait (self, first);
}

uint64_t
emu_collective (EmuCollective what, unsigned mask, uint64_t value, int source,
    const char *file, int line)
{
  Thread *self = wait (IN_WARP, file, line);
  int lane = self->number % LANES, first = self->number - lane;
  Warp *warp = &warps[first / LANES];
  Exchange *of = &exchanges[first / LANES];
  self->mask = mask;
  of->value[lane] = value;
  of->source[lane] = (unsigned) source % LANES;
  if (!(mask >> lane & 1))
    emu_die ("mask %#x at %s:%d leaves the calling lane out", mask, file, line);
  warp->n_waiting++;
  if (completes (self, warp, first))
    finish_collective (what, mask, first);
  let_others_run ();
  return of->result[lane];
}

/* ---- running ---- */

/* The thread-local segment of the object that this code is part of: nothing
 * but the kernels' static shared memory. */
static thread_local char in_segment;
static char *segment;
static size_t segment_bytes;

static int
find_segment (dl_phdr_info *info, size_t, void *)
{
  for (int i = 0; i < info->dlpi_phnum; i++) {
    char *start = (char *) info->dlpi_tls_data;
    size_t bytes = info->dlpi_phdr[i].p_memsz;
    if (info->dlpi_phdr[i].p_type != PT_TLS || !start || &in_segment < start ||
        &in_segment >= start + bytes)
      continue;
    segment = start;
    segment_bytes = bytes;
    return 1;
  }
  return 0;
}

static void
poison_shared ()
{
  memset (segment, POISON, segment_bytes);
  /* A new block of memory, so that a sanitizer sees its end. */
  std::vector<char> fresh (current->shared, (char) POISON);
  dynamic_shared.swap (fresh);
}

/* Threads of a launch's blocks: they differ in the block alone. */
static void
number_threads (dim3 size)
{
  n_threads = (int) (size.x * size.y * size.z);
  for (unsigned i = 0; i < (unsigned) n_threads; i++) {
    threads[i].number = (int) i;
    threads[i].index = { i % size.x, i / size.x % size.y,
      i / (size.x * size.y) };
  }
}

static void
place_threads ()
{
  n_waiting = n_ended = 0;
  able_warps = 0;
  for (int i = 0; i < n_threads; i++)
    threads[i].fiber = NULL;
  for (int i = 0; i < n_threads; i += LANES)
    warps[i / LANES] = {};
  make_all_ready ();
}

static void
end_thread (Thread *thread)
{
  emu_check_copies (thread->number);
  thread->state = ENDED;
  n_ended++;
  warps[thread->number / LANES].n_away++;
  check_not_awaited (thread, "has left the kernel");
  if (n_waiting)
    emu_die ("divergent __syncthreads: this thread leaves the kernel while %d "
             "others wait",
        n_waiting);
}

/* One thread after another that has not begun; else the fiber is idle. */
static void
fiber_body ()
{
  for (;;) {
    Thread *thread = (Thread *) emu_self;
    Fiber *own = thread->fiber;
    current->thread ();
    end_thread (thread);
    thread->fiber = NULL;
    Thread *next = draw_ready ();
    emu_self = next;
    if (next && !next->fiber) {
      next->fiber = own;
      continue;
    }
    if (n_idle == MAX_FIBERS)
      emu_die ("too many blocks have begun");
    idle[n_idle++] = own;
    fiber_change (next ? next->fiber : NULL);
  }
}

/* A block may have nothing to wait for, a grid that begins early must: kernels
 * behind it count on what it has waited for. */
static void
check_ended ()
{
  if (n_ended < n_threads)
    emu_die ("%d threads wait for ever", n_threads - n_ended);
  if (current->early && !has_waited)
    emu_die ("kernel %s may begin early and does not wait for what is before",
        current->name);
}

static void
begin_block (uint3 index)
{
  emu_block_index = index;
  has_waited = false;
  poison_shared ();
  place_threads ();
  let_others_run ();
}

static void
run_block (uint3 index)
{
  begin_block (index);
  check_ended ();
}

/* ---- grids ---- */

/* A block whose threads wait for earlier kernels. It goes on in the place where
 * it was: its threads' stacks point there. */
struct Suspended {
  unsigned number;
  Thread threads[MAX_THREADS];
  Warp warps[MAX_THREADS / LANES];
  Exchange exchanges[MAX_THREADS / LANES];
  int n_waiting, n_ended;
  std::vector<char> dynamic_shared, static_shared;
};

struct EmuBegun {
  std::vector<unsigned> order; /* of the blocks */
  std::vector<Suspended *> blocks;
};

static uint3
block_of (unsigned i)
{
  const dim3 &grid = current->grid;
  return { i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y) };
}

static Suspended *
suspend_block (unsigned number)
{
  Suspended *block = new Suspended{};
  block->number = number;
  std::copy_n (threads, MAX_THREADS, block->threads);
  std::copy_n (warps, MAX_THREADS / LANES, block->warps);
  std::copy_n (exchanges, MAX_THREADS / LANES, block->exchanges);
  block->n_waiting = n_waiting;
  block->n_ended = n_ended;
  block->dynamic_shared.swap (dynamic_shared);
  block->static_shared.assign (segment, segment + segment_bytes);
  return block;
}

static void
resume_block (Suspended *block)
{
  std::copy_n (block->threads, MAX_THREADS, threads);
  std::copy_n (block->warps, MAX_THREADS / LANES, warps);
  std::copy_n (block->exchanges, MAX_THREADS / LANES, exchanges);
  n_waiting = block->n_waiting;
  n_ended = block->n_ended;
  dynamic_shared.swap (block->dynamic_shared);
  memcpy (segment, block->static_shared.data (), segment_bytes);
  emu_block_index = block_of (block->number);
  has_waited = true;
  able_warps = 0;
  for (int i = 0; i < n_threads; i++)
    if (threads[i].state == AT_EARLIER) {
      threads[i].state = READY;
      make_ready (i / LANES, 1u << i % LANES);
    }
  running = -1;
  delete block;
  let_others_run ();
  check_ended ();
}

static void
enter_grid (const EmuLaunch &launch)
{
  in_segment = 0; /* makes it exist */
  if (!dl_iterate_phdr (find_segment, NULL))
    emu_die ("no thread-local segment");
  current = &launch;
  emu_block_size = launch.block;
  emu_grid_size = launch.grid;
  number_threads (launch.block);
}

static std::vector<unsigned>
draw_order (dim3 grid)
{
  std::vector<unsigned> order ((size_t) grid.x * grid.y * grid.z);
  std::iota (order.begin (), order.end (), 0);
  for (size_t i = order.size (); i > 1; i--)
    std::swap (order[i - 1], order[emu_random ((unsigned) i)]);
  return order;
}

EmuBegun *
emu_begin_grid (const EmuLaunch &launch)
{
  EmuBegun *begun = new EmuBegun{ draw_order (launch.grid), {} };
  size_t n = std::min (begun->order.size (), (size_t) 1 + emu_random (2));
  enter_grid (launch);
  is_early = true;
  for (size_t i = 0; i < n; i++) {
    begin_block (block_of (begun->order[i]));
    if (!has_waited)
      check_ended ();
    begun->blocks.push_back (suspend_block (begun->order[i]));
  }
  is_early = false;
  current = NULL;
  return begun;
}

void
emu_drop_grid (EmuBegun *begun)
{
  if (!begun)
    return;
  for (Suspended *block : begun->blocks)
    delete block;
  delete begun;
}

static void
finish_grid (EmuBegun *begun)
{
  size_t n = begun->blocks.size ();
  while (!begun->blocks.empty ()) {
    resume_block (begun->blocks.back ());
    begun->blocks.pop_back ();
  }
  for (; n < begun->order.size (); n++)
    run_block (block_of (begun->order[n]));
  delete begun;
}

void
emu_run_grid (const EmuLaunch &launch, EmuBegun *begun)
{
  enter_grid (launch);
  finish_grid (begun ? begun : new EmuBegun{ draw_order (launch.grid), {} });
  current = NULL;
}
