/* fiber.cpp - stacks to switch between, one per thread of a block that waits
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * ucontext would make a system call at each switch, so x86-64 has a switch of
 * its own.
 */
#include "tests/emu/fiber.h"

#include "tests/emu/emu.h"

#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif

#ifdef FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
#else
static void
__sanitizer_start_switch_fiber (void **, const void *, size_t)
{
}

static void
__sanitizer_finish_switch_fiber (void *, const void **, size_t *)
{
}
#endif

#define PAGE 4096
#define STACK_BYTES (128 * 1024)
/* Stacks begin at different places of a page: else the processor's first cache
 * would hold the tops of eight of them only. */
#define N_COLOURS 16
#define COLOUR_BYTES 256

#ifdef __x86_64__
typedef void *Context;

/* Saves what a call must preserve on the old stack and restores it from the
 * new. Fibers mostly wait at one place, so that the processor, which expects
 * a return to its latest call, is right about this one and those after it. */
extern "C" void emu_switch (Context *from, Context to);
asm(R"(
.text
.globl emu_switch
.hidden emu_switch
.type emu_switch, @function
emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emu_switch, . - emu_switch
)");

/* Six registers, where to return to, and the place of a return address that
 * the body never uses. */
static void
make (Context *context, char *top, void (*body) ())
{
  void **last = (void **) top - 2;
  last[0] = (void *) body;
  last[1] = NULL;
  *context = last - 6;
}

static void
change (Context *from, Context *to)
{
  emu_switch (from, *to);
}
#else
typedef ucontext_t Context;

static void
make (Context *context, char *top, void (*body) ())
{
  getcontext (context);
  context->uc_stack.ss_sp = top - STACK_BYTES + N_COLOURS * COLOUR_BYTES;
  context->uc_stack.ss_size = STACK_BYTES - N_COLOURS * COLOUR_BYTES;
  context->uc_link = NULL;
  makecontext (context, body, 0);
}

static void
change (Context *from, Context *to)
{
  swapcontext (from, to);
}
#endif

struct Fiber {
  Context context;
  const void *stack;
  size_t bytes;
  void *asan;
  void (*body) ();
};

static Fiber host;
static Fiber *running = &host, *before;

/* After a change: the stack that was left is known from here on. */
static void
arrive ()
{
  __sanitizer_finish_switch_fiber (
      running->asan, &before->stack, &before->bytes);
}

static void
run ()
{
  arrive ();
  running->body ();
}

Fiber *
fiber_new (void (*body) ())
{
  static int n_made;
  char *memory =
      (char *) mmap (NULL, PAGE + STACK_BYTES, PROT_READ | PROT_WRITE,
          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect (memory, PAGE, PROT_NONE))
    emu_die ("no memory for a thread's stack");
  Fiber *fiber = new Fiber{};
  fiber->stack = memory + PAGE;
  fiber->bytes = STACK_BYTES;
  fiber->body = body;
  make (&fiber->context,
      memory + PAGE + STACK_BYTES - n_made++ % N_COLOURS * COLOUR_BYTES, run);
  return fiber;
}

void
fiber_change (Fiber *to)
{
  before = running;
  running = to ? to : &host;
  __sanitizer_start_switch_fiber (
      &before->asan, running->stack, running->bytes);
  change (&before->context, &running->context);
  arrive ();
}
